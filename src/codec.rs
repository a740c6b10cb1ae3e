//! Byte helpers shared by every file format: little-endian integers, LEB128 varints, length-prefixed byte strings.
//!
//! Encoding appends to a `Vec<u8>`; decoding goes through [`Reader`], whose every step is checked, so that no decoder
//! indexes, unwraps or allocates by an unchecked length. A decoder turns [`Malformed`] into `Corruption` with the
//! file and offset, which only its caller knows.

/// The bytes end too early or say something impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Bytes from the start of the input at which it was noticed.
    pub(crate) at: usize,
}

/// A cursor over untrusted bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.remaining() == 0
    }

    /// An error that names the present position, for a caller that finds a value impossible.
    pub(crate) fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or(Malformed { at: self.at })?;
        let bytes = self.bytes.get(self.at..end).ok_or(Malformed { at: self.at })?;
        self.at = end;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let at = self.at;
        self.bytes(N)?.try_into().map_err(|_| Malformed { at })
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    /// A little-endian number of `len` bytes, at most eight.
    #[inline]
    pub(crate) fn uint(&mut self, len: usize) -> Result<u64, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut word = [0; 8];
        match rest.first_chunk() {
            Some(chunk) => word = *chunk,
            None => word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
        }
        self.bytes(len)?;
        let unused_bits = 64 - 8 * len.min(8) as u32;
        Ok(u64::from_le_bytes(word) & u64::MAX.checked_shr(unused_bits).unwrap_or(0))
    }

    /// An unsigned LEB128 number of at most 64 bits. Overlong forms are malformed, so every number has one form.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        // Most numbers are small.
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        if let Some(word) = self.bytes.get(start..).and_then(<[u8]>::first_chunk) {
            let word = u64::from_le_bytes(*word);
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                // It ends within this word. Without a branch for each byte, for lengths are hard to predict.
                let last_bit = ends.trailing_zeros();
                let bits = word & (u64::MAX >> (63 - last_bit)) & 0x7f7f_7f7f_7f7f_7f7f;
                let pairs = (bits & 0x007f_007f_007f_007f) | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
                let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
                let value = (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4;
                if last_bit > 7 && bits >> (last_bit - 7) == 0 {
                    return Err(Malformed { at: start });
                }
                self.at += last_bit as usize / 8 + 1;
                return Ok(value);
            }
        }
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed { at: start });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let overlong = byte == 0 && shift > 0;
                return if overlong { Err(Malformed { at: start }) } else { Ok(value) };
            }
        }
        Err(Malformed { at: start })
    }

    /// A varint that must fit a `usize` and not exceed `max`.
    #[inline]
    pub(crate) fn len(&mut self, max: usize) -> Result<usize, Malformed> {
        let at = self.at;
        let len = usize::try_from(self.varint()?).map_err(|_| Malformed { at })?;
        if len > max { Err(Malformed { at }) } else { Ok(len) }
    }

    /// A byte string with its length before it as a varint, of at most `max` bytes.
    #[inline]
    pub(crate) fn len_bytes(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = self.len(max)?;
        self.bytes(len)
    }
}

/// Appends `value` as unsigned LEB128: 1 byte below 128, at most 10.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `bytes` as a varint, then the bytes.
pub(crate) fn put_len_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_varint_has_one_form_and_comes_back() {
        let powers = (0..64).map(|bit| 1 << bit).flat_map(|power| [power - 1, power, power + 1]);
        for value in powers.chain([300, u64::MAX - 1, u64::MAX]) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.is_at_end());
            let len = out.len();
            out.extend_from_slice(&[0xff; 8]);
            let mut reader = Reader::new(&out);
            assert_eq!((reader.varint(), reader.position()), (Ok(value), len), "with more bytes behind");
            out.truncate(len);
            for cut in 0..out.len() {
                assert!(Reader::new(&out[..cut]).varint().is_err(), "{value} cut to {cut} bytes");
            }
        }
        assert!(Reader::new(&[0x80, 0x00]).varint().is_err(), "overlong zero");
        assert!(Reader::new(&[0x81, 0x80, 0, 1, 1, 1, 1, 1, 1]).varint().is_err(), "overlong one");
        assert!(Reader::new(&[0xff; 10]).varint().is_err(), "more than 64 bits");
    }

    #[test]
    fn lengths_are_checked_before_bytes_are_taken() {
        let mut out = Vec::new();
        put_len_bytes(&mut out, b"abcdef");
        assert_eq!(Reader::new(&out).len_bytes(6), Ok(&b"abcdef"[..]));
        assert!(Reader::new(&out).len_bytes(5).is_err());
        assert!(Reader::new(&out[..4]).len_bytes(6).is_err());
        assert!(Reader::new(&[]).bytes(usize::MAX).is_err());
    }
}
