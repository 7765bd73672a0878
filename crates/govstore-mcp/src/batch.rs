//! Batches: several messages in one array, which version 2025-03-26 of the protocol has and no other.
//!
//! A batch is read member by member, and its answers are gathered into an array. Where the array gets too long it is
//! written as several, so that no batch takes much more memory than its text.

use std::collections::HashSet;

use rmcp::model::RequestId;
use serde::de::IgnoredAny;

/// What answers are gathered at most, of all batches together.
const GATHERED_MAX_BYTES: usize = 4 << 20;

/// Whether a line is a batch, well-formed or not.
pub fn is_batch(line: &[u8]) -> bool {
    line.trim_ascii_start().first() == Some(&b'[')
}

/// The members of a batch that nobody has looked at yet.
pub struct Members {
    text: Vec<u8>,
    at: usize,
    /// Whether something answers this batch.
    pub is_answered: bool,
}

impl Members {
    /// The members of a line that is a batch, if it is well-formed.
    pub fn parse(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<IgnoredAny>(line)?;
        let line = line.trim_ascii_start();
        Ok(Self { text: line.to_vec(), at: 1, is_answered: false })
    }

    /// How much of the text is kept.
    pub const fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The text of the next member.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?; // at the end of the array
        let length = values.byte_offset();
        let member = rest[..length].to_vec();
        let comma = rest[length..].iter().position(|byte| *byte == b',');
        self.at = comma.map_or(self.text.len(), |comma| self.at + length + comma + 1);
        Some(member)
    }
}

/// Batches whose answers are gathered.
#[derive(Default)]
pub struct Batches {
    open: Vec<Batch>,
    /// What was gathered.
    bytes: usize,
}

#[derive(Default)]
struct Batch {
    /// Requests that are not answered yet.
    pending: HashSet<RequestId>,
    is_read: bool,
    answers: Vec<u8>,
}

impl Batches {
    /// A batch is read from now on.
    pub fn begin(&mut self) {
        if self.open.last().is_none_or(|last| last.is_read) {
            self.open.push(Batch::default());
        }
    }

    /// The batch that is being read has a request.
    pub fn expect(&mut self, id: &RequestId) {
        if let Some(batch) = self.open.last_mut() {
            batch.pending.insert(id.clone());
        }
    }

    /// An answer to the batch that is being read, and what is to be written now.
    pub fn add_to_last(&mut self, answer: &[u8]) -> Option<Vec<u8>> {
        self.add(self.open.len().checked_sub(1)?, answer)
    }

    /// The batch that was being read has no more members. Returns what is to be written now.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        let last = self.open.len().checked_sub(1)?;
        self.open[last].is_read = true;
        self.flush(last)
    }

    /// Whether the answer to a request is gathered.
    pub fn expects(&self, id: &RequestId) -> bool {
        self.open.iter().any(|batch| batch.pending.contains(id))
    }

    /// The answer to a request, or `None` if it was cancelled. Returns what is to be written now.
    pub fn answer(&mut self, id: &RequestId, answer: Option<&[u8]>) -> Option<Vec<u8>> {
        let at = self.open.iter_mut().position(|batch| batch.pending.remove(id))?;
        match answer {
            Some(answer) => self.add(at, answer),
            None => self.flush(at),
        }
    }

    fn add(&mut self, at: usize, answer: &[u8]) -> Option<Vec<u8>> {
        let answers = &mut self.open[at].answers;
        answers.push(if answers.is_empty() { b'[' } else { b',' });
        answers.extend_from_slice(answer);
        self.bytes += answer.len() + 1;
        self.flush(at)
    }

    /// The answers of a batch, if there will be no more of them, or if they are too many to be kept.
    fn flush(&mut self, at: usize) -> Option<Vec<u8>> {
        let batch = &mut self.open[at];
        let is_over = batch.is_read && batch.pending.is_empty();
        if !is_over && self.bytes < GATHERED_MAX_BYTES {
            return None;
        }
        let mut answers = std::mem::take(&mut batch.answers);
        if is_over {
            self.open.remove(at);
        }
        if answers.is_empty() {
            return None; // notifications alone
        }
        self.bytes -= answers.len();
        answers.push(b']');
        Some(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Vec<String> {
        let mut members = Members::parse(text.as_bytes()).expect(text);
        std::iter::from_fn(|| members.next())
            .map(|member| String::from_utf8_lossy(&member).into_owned())
            .collect()
    }

    #[test]
    fn a_batch_is_taken_apart() {
        assert_eq!(members("[]"), Vec::<String>::new());
        assert_eq!(members(" [ ] "), Vec::<String>::new());
        assert_eq!(members("[1]"), ["1"]);
        let nested = r#" [ {"a": [1, "],"]} , 2,"x" ,null,[[]] ]"#;
        assert_eq!(
            members(nested).iter().map(|member| member.trim()).collect::<Vec<_>>(),
            [r#"{"a": [1, "],"]}"#, "2", r#""x""#, "null", "[[]]"]
        );
        for malformed in ["[", "[1,]", "[1 2]", "[NaN]", "[1]]", "[{]"] {
            assert!(Members::parse(malformed.as_bytes()).is_err(), "{malformed}");
        }
    }

    #[test]
    fn answers_are_written_when_the_last_one_is_there() {
        let id = |n| RequestId::Number(n);
        let mut batches = Batches::default();
        batches.begin();
        batches.expect(&id(1));
        batches.expect(&id(2));
        batches.expect(&id(3));
        assert_eq!(batches.answer(&id(2), Some(b"two")), None, "there may be more members");
        assert_eq!(batches.add_to_last(b"none"), None);
        assert_eq!(batches.end(), None);
        batches.begin();
        batches.expect(&id(4));
        assert_eq!(batches.end(), None);
        assert_eq!(batches.answer(&id(3), None), None);
        assert!(batches.expects(&id(1)) && !batches.expects(&id(2)) && !batches.expects(&id(5)));
        assert_eq!(batches.answer(&id(1), Some(b"one")).as_deref(), Some(&b"[two,none,one]"[..]));
        assert_eq!(batches.answer(&id(4), None), None, "nothing to be said");
        assert!(batches.open.is_empty());
        assert_eq!(batches.bytes, 0);
    }

    #[test]
    fn many_answers_are_written_in_parts() {
        let long = vec![b'x'; GATHERED_MAX_BYTES];
        let mut batches = Batches::default();
        batches.begin();
        batches.expect(&RequestId::Number(1));
        batches.expect(&RequestId::Number(2));
        assert!(batches.answer(&RequestId::Number(1), Some(&long)).is_some());
        assert_eq!(batches.answer(&RequestId::Number(2), Some(b"two")), None);
        assert_eq!(batches.end().as_deref(), Some(&b"[two]"[..]));
        assert_eq!(batches.bytes, 0);
    }
}
