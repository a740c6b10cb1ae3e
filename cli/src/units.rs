//! Arguments with units: `30s`, `10MiB`, `10%`, and rights.

use std::time::Duration;

/// A time of at least a millisecond: a whole number and `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = |unit: &str| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    match amount(text, unit) {
        Some(milliseconds @ 1..) => Ok(Duration::from_millis(milliseconds)),
        _ => Err("write a time as 500ms, 30s, 5m or 1h".to_owned()),
    }
}

/// A size of at least a byte: a whole number and nothing, `KiB`, `MiB` or `GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let unit = |unit: &str| match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    match amount(text, unit) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => Err("write a size as 65536, 500KiB, 10MiB or 1GiB".to_owned()),
    }
}

/// A whole number of hundredths up to `100%`.
pub(crate) fn percent(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
    percent.filter(|&percent| percent <= 100).ok_or_else(|| "write a share as 10%".to_owned())
}

/// Digits times what `unit` says of the rest, if both make sense and the product is a number.
fn amount(text: &str, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    number.parse::<u64>().ok()?.checked_mul(unit(rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units_and_nonsense_is_refused() {
        assert_eq!(
            ["500ms", "30s", "5m", "1h"].map(|text| duration(text).map(|time| time.as_millis())),
            [Ok(500), Ok(30_000), Ok(300_000), Ok(3_600_000)]
        );
        assert_eq!(["7", "1KiB", "10MiB"].map(bytes), [Ok(7), Ok(1024), Ok(10 << 20)]);
        assert_eq!(["0%", "100%"].map(percent), [Ok(0), Ok(100)]);
        for wrong in ["", "0s", "30", "s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0", "1MB", "MiB", "18446744073709551615KiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "10", "101%", "-1%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
