//! Why a text is not a schedule: where, what, and how to mend it.

use std::fmt;

/// A refusal. `position` counts characters from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// `second`, `minute`, `hour`, `day`, `month`, `weekday`, `year`, or `expression`.
    pub field: &'static str,
    /// Where in the text, in characters from 0.
    pub position: usize,
    /// What is wrong.
    pub message: String,
    /// What might have been meant; empty when nothing is near.
    pub mend: String,
}

impl ParseError {
    pub(crate) fn new(field: &'static str, position: usize, message: impl Into<String>) -> Self {
        Self { field, position, message: message.into(), mend: String::new() }
    }

    pub(crate) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    /// The same, for a part that begins later in the text.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        self.position += by;
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}: {}", self.field, self.position + 1, self.message)?;
        if self.mend.is_empty() {
            return Ok(());
        }
        write!(f, "; {}", self.mend)
    }
}

impl std::error::Error for ParseError {}
