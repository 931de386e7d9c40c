//! A template as a stack that is deployed: what CloudFormation shows of it.

/// A stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// `local-quadrille-orders`, as `just deploy` names it.
    pub name: String,
    pub description: Option<String>,
    /// Names and values.
    pub parameters: Vec<(String, String)>,
    pub outputs: Vec<Output>,
    pub resources: Vec<Deployed>,
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name within the template.
    pub logical_id: String,
    /// What `Ref` gives.
    pub physical_id: String,
    /// `AWS::SQS::Queue`
    pub kind: &'static str,
}

/// A value that a stack shows.
#[derive(Clone, Debug)]
pub struct Output {
    pub name: String,
    pub value: String,
    pub description: Option<String>,
}
