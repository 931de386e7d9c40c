//! How deep a JSON document nests. What reads documents calls itself for each level, and the records that hold some add levels of
//! their own.

/// How deep the arrays and objects of a document may stand in each other. AWS has a limit as well, and says nothing of it.
pub const MAX_DEPTH: usize = 100;

/// Whether a document nests deeper than [`MAX_DEPTH`].
#[must_use]
pub fn is_deep(json: &str) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    json.bytes().any(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}
