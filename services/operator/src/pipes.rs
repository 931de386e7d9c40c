//! The commands about the pipes by which events leave the services' tables.

use crate::session::{Misuse, Session, publishes};
use anyhow::{Result, ensure};
use aws::pipes::{Pipe, Pipes};
use clap::Subcommand;
use events::envelope::millis;
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum PipesCommand {
    /// Each pipe with its state, and since when
    List,
    /// Have a service's pipe stop; what it has not carried after a day is lost
    Stop {
        /// `orders`
        service: String,
    },
    /// Have a service's pipe start where it stood
    Start {
        /// `orders`
        service: String,
    },
}

/// Does what the command says.
pub async fn run(session: &Session, command: PipesCommand) -> Result<()> {
    let pipes = Pipes::new(&session.sdk);
    let (service, running) = match command {
        PipesCommand::List => {
            let row = |pipe: &Pipe| json!({"pipe": pipe.name, "state": pipe.state, "since": pipe.since.as_ref().map(millis::text)});
            let rows: Vec<Value> = pipes.list(&session.name("")).await?.iter().map(row).collect();
            let columns = [("pipe", "pipe"), ("state", "state"), ("since", "since")];
            return session.rows(&columns, &rows, "no pipes: the stage has relays");
        }
        PipesCommand::Stop { service } => (service, false),
        PipesCommand::Start { service } => (service, true),
    };
    let own = session.name("");
    let service = service.strip_prefix(&own).unwrap_or(&service);
    ensure!(
        publishes(service),
        Misuse(format!("{service} is no service with a pipe: `quadrille pipes list` names them"))
    );
    let name = session.name(service);
    pipes.set(&name, running).await?;
    let state = if running { "starts" } else { "stops" };
    session.done(&format!("{name} {state}"), &json!({"pipe": name, "state": state}))
}
