//! `If-Match`: a request that changes only what its sender has seen. RFC 9110, section 13.1.1.

use super::{Problem, Request};

/// What a request wants its target to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: there is one, whatever it is.
    Any,
    /// It has one of these entity tags, with their quotes. A weak one is among them and equals none of ours.
    Tags(Vec<String>),
}

/// The precondition of a request, if it has one.
///
/// # Errors
/// 400 for a header that is neither `*` nor a list of entity tags.
pub fn if_match(request: &Request) -> Result<Option<IfMatch>, Problem> {
    let Some(text) = request.header("if-match") else { return Ok(None) };
    if text.trim() == "*" {
        return Ok(Some(IfMatch::Any));
    }
    let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
    if tags.iter().all(|tag| is_tag(tag)) {
        return Ok(Some(IfMatch::Tags(tags)));
    }
    let rule = "must be an ETag as it was answered, with its quotes";
    Err(Problem::field("If-Match", "format", rule))
}

fn is_tag(tag: &str) -> bool {
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    opaque.is_some_and(|opaque| !opaque.contains('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<Option<IfMatch>, u16> {
        let headers = [("if-match".to_owned(), header.to_owned())].into();
        if_match(&Request { headers, ..Request::default() }).map_err(|problem| problem.status)
    }

    #[test]
    fn a_precondition_is_read_or_refused() {
        let tags = |tags: &[&str]| Ok(Some(IfMatch::Tags(tags.iter().map(|tag| (*tag).into()).collect())));
        assert_eq!(if_match(&Request::default()), Ok(None));
        assert_eq!(read(" * "), Ok(Some(IfMatch::Any)));
        assert_eq!(read("\"a\""), tags(&["\"a\""]));
        assert_eq!(read("\"a\" ,W/\"b\",\"\""), tags(&["\"a\"", "W/\"b\"", "\"\""]));
        for bad in ["", "a", "\"a", "\"", "\"a\"b\"", "\"a\",", "\"a\", *"] {
            assert_eq!(read(bad), Err(400), "{bad}");
        }
    }
}
