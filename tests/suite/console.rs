//! A console beside a platform: runs the commands of a page, and compares what they print with what the page says.

use crate::platform::{BINARIES, root, scratch};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long an answer that comes eventually may take.
const EVENTUALLY: Duration = Duration::from_secs(90);
/// Stands on a line of its own after the output of each command, before its exit code.
const END: &str = "-- end of the command --";
/// The platform of a page and a shell beside it.
pub struct Console {
    platform: Child,
    shell: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What the page says, and what it is here.
    places: Vec<(&'static str, String)>,
}

impl Drop for Console {
    fn drop(&mut self) {
        for child in [&mut self.shell, &mut self.platform] {
            // Already dead is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The short names of the page's commands, for the programs as they are built. The recipes are those of the justfile.
const NAMES: &str = r#"
operator() { "$BINARIES/quadrille" "$@"; }
just() {
    local recipe=$1
    shift
    case $recipe in
        order | orders | waiting | sweep | dlq | stock | breaker | bus | pipes | replay | rebuild | audit | republish | forget)
            operator "$recipe" "$@" ;;
        contracts) "$BINARIES/contracts" "$@" ;;
        secrets) infra/deploy secrets "$@" ;;
        *) echo "tests/suite/readme.rs cannot run the recipe $recipe"; return 64 ;;
    esac
}
cargo() {
    case "$1" in
        dev) shift; "$BINARIES/localstack" --bin-dir "$BINARIES" --api-port 0 --aws-port 0 --provider-port 0 "$@" ;;
        *) echo "tests/suite/readme.rs cannot run cargo $1"; return 64 ;;
    esac
}
"#;

impl Console {
    /// A console on a platform of its own, with these flags.
    pub fn start(name: &str, flags: &[String]) -> Self {
        let data = scratch(&format!("readme-{name}"));
        let mut platform = Command::new(BINARIES.join("localstack"))
            .args(["--api-port", "0", "--aws-port", "0", "--provider-port", "0", "--in-memory"])
            .args(["--parameter", "RequestRate=100000", "--parameter", "RequestBurst=100000"])
            .args(flags)
            .arg("--data-dir")
            .arg(&data)
            .arg("--bin-dir")
            .arg(&*BINARIES)
            .arg("--infra")
            .arg(root().join("infra"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(platform.stdout.take().unwrap()).lines();
        let mut find = |label: &str| {
            let line = lines.by_ref().map_while(Result::ok).find(|line| line.trim().starts_with(label));
            let line = line.unwrap_or_else(|| panic!("the platform of {name} did not start"));
            line.trim()[label.len()..].split_whitespace().next().unwrap().to_owned()
        };
        let host = |url: String| url.trim_start_matches("http://").trim_end_matches("/book").to_owned();
        let (api, aws, provider) =
            (host(find("API")), host(find("AWS endpoint")), host(find("Payments book")));
        std::thread::spawn(move || lines.for_each(drop));
        let (shell, input, output) = Self::shell(&aws);
        let places = vec![
            ("localhost:3000", api.clone()),
            ("127.0.0.1:3000", api),
            ("localhost:4566", aws.clone()),
            ("127.0.0.1:4566", aws),
            ("localhost:4567", provider.clone()),
            ("127.0.0.1:4567", provider),
            ("target/quadrille/", format!("{}/", data.display())),
        ];
        Self { platform, shell, input, output, places }
    }

    fn shell(aws: &str) -> (Child, ChildStdin, Lines<BufReader<ChildStdout>>) {
        let mut shell = Command::new("bash")
            .current_dir(root())
            .env("BINARIES", &*BINARIES)
            .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_PAGER", "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        writeln!(input, "{NAMES}").unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap()).lines();
        (shell, input, output)
    }

    /// What a command prints, and its exit code.
    fn run(&mut self, command: &str) -> (String, i32) {
        let command =
            self.places.iter().fold(command.to_owned(), |text, (shown, here)| text.replace(shown, here));
        writeln!(self.input, "{{ {command}\n}} 2>&1 </dev/null; printf '\\n%s %s\\n' '{END}' $?").unwrap();
        let mut printed = String::new();
        loop {
            let line = self.output.next().expect("the shell ended").unwrap();
            if let Some(code) = line.strip_prefix(END) {
                return (printed, code.trim().parse().unwrap());
            }
            printed.extend([line.trim_end_matches('\r'), "\n"]);
        }
    }

    /// Runs a step; what is wrong with it.
    pub fn check(&mut self, command: &str, expected: Option<&str>, eventually: bool) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let (printed, code) = self.run(command);
            let right = match expected {
                Some(expected) => same(&self.shape(expected), &self.shape(&printed)),
                None => code == 0,
            };
            if right {
                return Ok(());
            }
            if !eventually || started.elapsed() > EVENTUALLY {
                let expected = expected.unwrap_or("(exit code 0)\n");
                return Err(format!(
                    "$ {command}\n--- the page ---\n{expected}--- today ({code}) ---\n{printed}"
                ));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The text with everything replaced that differs from run to run.
    fn shape(&self, text: &str) -> String {
        let placed = self.places.iter().fold(text.to_owned(), |text, (shown, here)| {
            text.replace(here.as_str(), "<place>").replace(shown, "<place>")
        });
        shape(&placed)
    }
}

/// The shapes of what differs from run to run: `h` is a hexadecimal digit, `d` a decimal one.
const SHAPES: [&str; 4] = [
    "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh",
    "dddd-dd-ddTdd:dd:dd.dddZ",
    "dddd-dd-ddTdd:dd:ddZ",
    "LPhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
];

fn shape(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match SHAPES.iter().find(|shape| fits(shape, rest)) {
            Some(shape) => {
                out.push_str(shape);
                rest = &rest[shape.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn fits(shape: &str, text: &str) -> bool {
    text.len() >= shape.len()
        && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
            b'h' => byte.is_ascii_hexdigit(),
            b'd' => byte.is_ascii_digit(),
            _ => shape == byte,
        })
}

/// Whether the output is the one expected. Of an answer with headers, those expected have to be there.
fn same(expected: &str, actual: &str) -> bool {
    let Some((head, body)) =
        expected.strip_prefix("HTTP/").map(|rest| rest.split_once("\n\n").unwrap_or((rest, "")))
    else {
        return matches(expected, actual);
    };
    let Some((actual_head, actual_body)) =
        actual.strip_prefix("HTTP/").and_then(|rest| rest.split_once("\n\n"))
    else {
        return false;
    };
    let mut lines = head.lines();
    lines.next() == actual_head.lines().next()
        && lines.all(|line| actual_head.lines().any(|actual| actual == line))
        && matches(body, actual_body)
}

/// Whether the texts are the same but for blanks; `…` stands for any text.
fn matches(expected: &str, actual: &str) -> bool {
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    let (expected, actual) = (bare(expected), bare(actual));
    let parts: Vec<&str> = expected.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return expected == actual };
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: the comparison itself. What differs from run to run is the same, and nothing else is.
    #[test]
    fn a_difference_is_noticed() {
        let compare = |expected: &str, actual: &str| same(&shape(expected), &shape(actual));
        let (one, other) = ("01a1fc44-6f06-7215-9d35-6c0f92039c72", "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f");
        assert!(compare(&format!("{{\"id\": \"{one}\"}}"), &format!("{{\"id\":\"{other}\"}}\n")));
        assert!(compare("at 2026-11-21T09:54:38.589Z", "at 2027-01-01T00:00:00.000Z"));
        assert!(!compare("FULFILLED", "CONFIRMED") && !compare("{\"a\":1}", "{\"a\":12}"));
        assert!(compare("{\"a\":1,…}", "{\"a\":1,\"b\":2}") && !compare("{\"a\":1,…}", "{\"b\":2}"));
        assert!(!compare("", "more") && !compare("one…two", "one"));
        let answer = "HTTP/1.1 202 Accepted\nlocation: /x\nretry-after: 1\n\n{}";
        assert!(compare("HTTP/1.1 202 Accepted\nretry-after: 1\n\n{}\n", answer));
        assert!(!compare("HTTP/1.1 202 Accepted\nretry-after: 2\n\n{}\n", answer));
        assert!(
            !compare("HTTP/1.1 201 Created\n\n{}\n", answer)
                && !compare("HTTP/1.1 202 Accepted\n\n[]", answer)
        );
    }
}
