//! Numbers as digits. `core::fmt` and `from_str_radix` would do, for several KB more in the launcher.

use alloc::string::String;

/// Appends the digits of a number; letters in lower case, no zeros in front.
#[inline(never)]
pub fn push(text: &mut String, number: u64, radix: u64) {
    if number >= radix {
        push(text, number / radix, radix);
    }
    let digit = (number % radix) as u8;
    text.push(char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }));
}

/// The decimal digits of a number.
#[inline(never)]
pub fn decimal(number: u64) -> String {
    let mut text = String::new();
    push(&mut text, number, 10);
    text
}

/// The hexadecimal digits of a number behind `0x`.
#[inline(never)]
pub fn hexadecimal(number: u64) -> String {
    let mut text = String::from("0x");
    push(&mut text, number, 16);
    text
}

/// Reads digits, and nothing but digits: at least one, no sign, no spaces, no overflow. Letters of either case count.
pub fn parse(digits: &str, radix: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_u64, |number, digit| {
        let digit = char::from(digit).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn digits_are_those_of_core_fmt() {
        for number in [0, 1, 9, 10, 15, 16, 255, 0o7777, u64::MAX] {
            assert_eq!(decimal(number), format!("{number}"));
            assert_eq!(hexadecimal(number), format!("{number:#x}"));
            let mut octal = String::new();
            push(&mut octal, number, 8);
            assert_eq!(octal, format!("{number:o}"));
        }
    }

    #[test]
    fn only_digits_that_fit_are_a_number() {
        assert_eq!(parse("18446744073709551615", 10), Some(u64::MAX));
        assert_eq!(parse("0755", 8), Some(0o755));
        assert_eq!(parse("1b01", 16), Some(0x1b01));
        for text in ["", "+1", "-1", " 1", "1 ", "18446744073709551616", "1x"] {
            assert_eq!(parse(text, 10), None, "{text:?}");
        }
        assert_eq!(parse("8", 8), None);
    }
}
