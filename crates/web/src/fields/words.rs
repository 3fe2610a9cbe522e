//! Lists of words in one query value.

use serde_json::json;

use super::{
    parse,
    parser::{Parse, Value, parser},
};
use crate::fault::Problem;

/// Different words of a closed set, separated by commas, in the order given; an empty value is an empty list. A word that is
/// repeated counts once.
pub fn words<T: Copy + PartialEq>(
    choices: &'static [(&'static str, T)],
    max: usize,
) -> impl Parse<Output = Vec<T>> {
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    parser(
        move || json!({"type": "string", "description": names()}),
        move |value| {
            let text = parse::text(0, usize::MAX).parse(value)?;
            let mut list: Vec<T> = Vec::new();
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let choice = parse::read_word(Value::Text(name), choices)?;
                if !list.contains(&choice) {
                    list.push(choice);
                }
            }
            if list.len() > max {
                return Err(Problem::new("too_long", format!("List should have at most {max} items")));
            }
            Ok(list)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_words_are_read_in_order_and_bounded() {
        let read = |text| words(&[("a", 1), ("b", 2), ("c", 3)], 2).parse(Value::Text(text));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("b"), Ok(vec![2]));
        assert_eq!(read("c, a,c"), Ok(vec![3, 1]));
        assert_eq!(read("a,b,c").unwrap_err().kind, "too_long");
        assert_eq!(read("a,x").unwrap_err().kind, "enum");
    }
}
