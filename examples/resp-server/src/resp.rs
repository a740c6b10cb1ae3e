//! RESP2: commands out of whatever bytes a client sends, and replies.
//!
//! A command is an array of strings, or a line of words. The decoder keeps what it has read of a command, so that bytes
//! which come one by one cost no more than others.
//!
//! Easy to get wrong: lengths are a stranger's word. Nothing is allocated from one, and what a client can make this side
//! hold is [`COMMAND_LEN_MAX`] and a little.

use std::fmt;

/// Greatest length of one string, and of a command's strings together.
pub(crate) const COMMAND_LEN_MAX: usize = 4 << 20;
/// Greatest number of strings in a command.
const ARG_COUNT_MAX: usize = 64 << 10;
/// What an argument costs beside its bytes.
const ARG_OVERHEAD: usize = 40;
/// Longest line that says a length, and longest line of words.
const HEADER_LEN_MAX: usize = 32;
const INLINE_LEN_MAX: usize = 4 << 10;

/// The words of one command, of which there is at least one.
pub(crate) type Command = Vec<Vec<u8>>;

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation(&'static str);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERR Protocol error: {}", self.0)
    }
}

/// Makes commands out of bytes.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// What lies before it in the buffer is done with.
    at: usize,
    /// The strings of the present command so far, their length, and how many are to come.
    words: Command,
    words_len: usize,
    words_left: usize,
    /// Of the string that comes next, once it was said.
    len: Option<usize>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next command, if it is there whole.
    pub(crate) fn next(&mut self) -> Result<Option<Command>, Violation> {
        loop {
            let is_whole = match (self.words_left, self.len) {
                (0, _) => self.begin()?,
                (_, None) => self.read_len()?,
                (_, Some(len)) => self.read_string(len)?,
            };
            match is_whole {
                None => return Ok(None),
                Some(()) if self.words_left == 0 && !self.words.is_empty() => {
                    self.words_len = 0;
                    return Ok(Some(std::mem::take(&mut self.words)));
                }
                Some(()) => {}
            }
        }
    }

    /// The first line of a command: how many strings it has, or its words.
    fn begin(&mut self) -> Result<Option<()>, Violation> {
        let is_array = match self.rest().first() {
            Some(first) => *first == b'*',
            None => return Ok(None),
        };
        let len_max = if is_array { HEADER_LEN_MAX } else { INLINE_LEN_MAX };
        let Some(line) = self.line(len_max)? else { return Ok(None) };
        if let Some(count) = line.strip_prefix(b"*") {
            let count = number(count).filter(|count| *count <= ARG_COUNT_MAX as i64);
            let count = count.ok_or(Violation("invalid multibulk length"))?;
            // An array of none, or of fewer, is no command at all.
            self.words_left = usize::try_from(count).unwrap_or(0);
        } else {
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let words: Command = words.map(<[u8]>::to_vec).collect();
            // A browser that was told to post a form here.
            let first = words.first().map(|word| word.to_ascii_lowercase());
            if matches!(first.as_deref(), Some(b"post" | b"host:")) {
                return Err(Violation("this is no web server"));
            }
            self.words = words;
        }
        Ok(Some(()))
    }

    fn read_len(&mut self) -> Result<Option<()>, Violation> {
        let Some(line) = self.line(HEADER_LEN_MAX)? else { return Ok(None) };
        let digits = line.strip_prefix(b"$").ok_or(Violation("expected '$'"))?;
        let len = number(digits).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or(Violation("invalid bulk length"))?;
        self.words_len = self.words_len.saturating_add(len).saturating_add(ARG_OVERHEAD);
        if self.words_len > COMMAND_LEN_MAX {
            return Err(Violation("the command is too long"));
        }
        self.len = Some(len);
        Ok(Some(()))
    }

    fn read_string(&mut self, len: usize) -> Result<Option<()>, Violation> {
        let Some((string, end)) = self.rest().get(..len + 2).map(|bytes| bytes.split_at(len)) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(Violation("expected the end of a string"));
        }
        let string = string.to_vec();
        self.words.push(string);
        self.at += len + 2;
        self.len = None;
        self.words_left -= 1;
        Ok(Some(()))
    }

    /// The next line without its end, if that is there.
    fn line(&mut self, len_max: usize) -> Result<Option<Vec<u8>>, Violation> {
        let rest = self.rest();
        let window = rest.get(..len_max).unwrap_or(rest);
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = window.get(..end).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at += end + 1;
                Ok(Some(line))
            }
            None if rest.len() >= len_max => Err(Violation("too long a line")),
            None => Ok(None),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }
}

/// A number in the only form in which replies and clients write it.
pub(crate) fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let number: i64 = text.parse().ok()?;
    // Neither `+1` nor `01`.
    (number.to_string() == text).then_some(number)
}

/// Replies on their way out.
#[derive(Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<u8>);

impl Replies {
    pub(crate) fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// `text` begins with a word in capitals by which clients tell errors apart. Whatever would end the line is left out.
    pub(crate) fn error(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.line(b'-', &text);
    }

    pub(crate) fn integer(&mut self, number: i64) {
        self.line(b':', &number.to_string());
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) {
        self.line(b'$', &bytes.len().to_string());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn string_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.string(bytes),
            None => self.null(),
        }
    }

    pub(crate) fn null(&mut self) {
        self.0.extend_from_slice(b"$-1\r\n");
    }

    /// So many replies follow, which are one together.
    pub(crate) fn array(&mut self, len: usize) {
        self.line(b'*', &len.to_string());
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.0.push(kind);
        self.0.extend_from_slice(text.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(parts: &[&[u8]]) -> Result<Vec<Command>, Violation> {
        let mut decoder = Decoder::default();
        let mut commands = Vec::new();
        for part in parts {
            decoder.feed(part);
            while let Some(command) = decoder.next()? {
                commands.push(command);
            }
        }
        Ok(commands)
    }

    #[test]
    fn commands_are_the_same_however_their_bytes_arrive() {
        let bytes = b"*2\r\n$3\r\nGET\r\n$5\r\na\r\nb\0\r\nPING  now\r\n\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n";
        let whole = decode(&[bytes]).expect("legal");
        let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Command>();
        assert_eq!(whole, [words(&[b"GET", b"a\r\nb\0"]), words(&[b"PING", b"now"]), words(&[b""])]);
        for cut in 0..bytes.len() {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(decode(&[one, two]), Ok(whole.clone()), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), Ok(whole));
    }

    #[test]
    fn lengths_that_nobody_can_mean_end_the_connection_before_anything_is_kept() {
        for bytes in [
            &b"*99999999999999999999\r\n"[..],
            b"*65537\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$4194305\r\n",
            b"*1\r\n$9223372036854775807\r\n",
            b"*1\r\n$1\r\nab\r\n",
            b"*1\r\nGET\r\n",
            b"*01\r\n",
            b"*1000000000000000000000000000000000000000000000",
            b"POST / HTTP/1.1\r\n",
            &[b'x'; INLINE_LEN_MAX],
        ] {
            assert!(decode(&[bytes]).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        // Many strings of a length that is fine for each.
        let mut many = b"*5\r\n".to_vec();
        for _ in 0..5 {
            many.extend_from_slice(b"$1000000\r\n");
            many.extend_from_slice(&[7; 1_000_000]);
            many.extend_from_slice(b"\r\n");
        }
        assert_eq!(decode(&[&many]), Err(Violation("the command is too long")));
    }
}
