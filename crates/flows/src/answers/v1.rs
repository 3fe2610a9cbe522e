//! Members that earlier versions of the service left out of stored answers. Such rows are read for as long as answers
//! are kept, so nothing here may change.

use serde::{Deserialize, de::IgnoredAny};

/// Returns whether an answer has a hold without the class of its maker. In the versions that wrote such answers everybody could
/// end every hold, and mostly its maker did: the entry shows who.
pub(super) fn lacks_maker(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        result: AnswerResult,
    }
    #[derive(Deserialize)]
    struct AnswerResult {
        applied: Option<Applied>,
    }
    #[derive(Deserialize)]
    struct Applied {
        hold: Option<Hold>,
    }
    #[derive(Deserialize)]
    struct Hold {
        made_by: Option<IgnoredAny>,
    }
    let answer = serde_json::from_str::<Answer>(json).ok();
    let hold = answer.and_then(|answer| answer.result.applied).and_then(|applied| applied.hold);
    hold.is_some_and(|hold| hold.made_by.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hold_without_its_maker_lacks_it() {
        for (json, lacks) in [
            (r#"{"v":1,"result":{"applied":{"hold":{"hold_id":1,"metadata":{"made_by":"x"}}}}}"#, true),
            (r#"{"v":1,"result":{"applied":{"hold":{"made_by":"user"}}}}"#, false),
            (r#"{"v":1,"result":{"applied":{"hold":null}}}"#, false),
            (r#"{"v":1,"result":{"refused":"balance_limit"}}"#, false),
        ] {
            assert_eq!(lacks_maker(json), lacks, "{json}");
        }
    }
}
