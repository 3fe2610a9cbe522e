//! The `input` of a fault: a wrong value, shortened (HTTP contract 1.6). The cost does not grow with the value.

use serde_json::Value as Json;

/// Longest echo of a wrong input, in characters.
const CHARS_MAX: usize = 200;

/// Longest literal that is parsed as a whole, in bytes. Longer ones are cut as text.
const PARSED_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a JSON string that hold [`CHARS_MAX`] characters in any case: each takes two escapes of six bytes at most, and the cut may
/// lie within one.
const STRING_BYTES_MAX: usize = 12 * (CHARS_MAX + 2);

/// Most of a long list or object that is looked at, in bytes: the rest of it may be white space.
const NESTED_BYTES_MAX: usize = 64 * 1024;

/// The echo of a JSON value, given as its literal text.
#[must_use]
pub fn of_json(literal: &str) -> Json {
    if literal.len() <= PARSED_BYTES_MAX {
        return serde_json::from_str(literal).map_or_else(|_| of_text(literal), shortened);
    }
    match literal.as_bytes().first() {
        Some(b'"') => of_string(literal),
        Some(b'{' | b'[') => of_nested(literal),
        _ => of_text(literal),
    }
}

/// The echo of plain text.
#[must_use]
pub fn of_text(text: &str) -> Json {
    let mut chars = text.chars();
    let mut cut: String = chars.by_ref().take(CHARS_MAX).collect();
    if chars.next().is_some() {
        cut.push_str("...");
    }
    Json::String(cut)
}

fn shortened(input: Json) -> Json {
    let echo = match &input {
        Json::String(text) => of_text(text),
        Json::Array(_) | Json::Object(_) => of_text(&input.to_string()),
        _ => return input,
    };
    match &echo {
        Json::String(text) if text.chars().count() > CHARS_MAX => echo,
        _ => input,
    }
}

/// A long JSON string: the first part of it that is a string by itself.
fn of_string(literal: &str) -> Json {
    let head = prefix(literal, STRING_BYTES_MAX);
    // The cut may lie within an escape, of at most twelve bytes.
    let text = (0..=12).find_map(|back| {
        let part = head.get(..head.len().saturating_sub(back))?;
        serde_json::from_str::<String>(&format!("{part}\"")).ok()
    });
    let cut: String = text.unwrap_or_default().chars().take(CHARS_MAX).collect();
    Json::String(format!("{cut}..."))
}

/// A long list or object: its first characters, without white space between values.
fn of_nested(literal: &str) -> Json {
    let (mut in_string, mut escaped) = (false, false);
    let examined = prefix(literal, NESTED_BYTES_MAX);
    let mut compact = examined.chars().filter(|letter| {
        let was_string = in_string;
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        was_string || !letter.is_ascii_whitespace()
    });
    let head: String = compact.by_ref().take(CHARS_MAX).collect();
    if compact.next().is_some() || examined.len() < literal.len() {
        return Json::String(format!("{head}..."));
    }
    serde_json::from_str(&head).unwrap_or(Json::String(head))
}

fn prefix(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_are_told_whole() {
        for value in
            [json!(5), json!(null), json!("x"), json!([1, {"b": 1, "a": "é"}]), json!("é".repeat(200))]
        {
            assert_eq!(of_json(&value.to_string()), value);
        }
        assert_eq!(of_json("[ 1,\n2 ]"), json!([1, 2]));
        assert_eq!(of_json("1e999"), json!("1e999"), "beyond a float");
    }

    #[test]
    fn long_values_are_cut_as_they_were_when_they_were_parsed() {
        for long in [
            json!("é".repeat(201)),
            json!("\u{1F600}\"\\\u{1}".repeat(3_000)),
            json!(vec![0; 300]),
            json!(vec![0; 300_000]),
            json!({"a": "x\" y".repeat(5_000), "b": [1, 2]}),
        ] {
            let whole = match &long {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let wanted = format!("{}...", whole.chars().take(200).collect::<String>());
            assert_eq!(of_json(&long.to_string()), json!(wanted));
            let spaced = serde_json::to_string_pretty(&long).unwrap();
            assert_eq!(of_json(&spaced), json!(wanted));
        }
        let escaped = format!("\"{}\"", r"\ud83d\ude00".repeat(1_000));
        assert_eq!(of_json(&escaped), json!(format!("{}...", "\u{1F600}".repeat(200))));
        let spaced_out = format!("[1{},2]", " ".repeat(10_000));
        assert_eq!(of_json(&spaced_out), json!([1, 2]));
        let too_spaced_out = format!("[1{},2]", " ".repeat(NESTED_BYTES_MAX));
        assert_eq!(of_json(&too_spaced_out), json!("[1..."));
        assert_eq!(of_json(&"1".repeat(5_000)), json!(format!("{}...", "1".repeat(200))));
    }
}
