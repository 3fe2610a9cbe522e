//! Random texts and queries, against reading all texts.

use std::collections::HashMap;

use sessions::{Message, Role};
use testkit::user;
use time::{Duration, OffsetDateTime};

use super::*;

/// Characters of three scripts that have case, or lose it in unusual ways; signs of patterns; emoji of several characters;
/// combining marks; Chinese, in the order of how often they come.
const LETTERS: [&str; 48] = [
    "e",
    "t",
    "a",
    "o",
    " ",
    "的",
    "是",
    "不",
    "我",
    "E",
    "n",
    "s",
    "r",
    "h",
    "S",
    "T",
    "了",
    "在",
    "有",
    "i",
    "I",
    "İ",
    "ı",
    "ß",
    "ẞ",
    "ſ",
    "k",
    "K",
    "\u{212a}",
    "σ",
    "ς",
    "Σ",
    "é",
    "E\u{301}",
    "e\u{301}",
    "%",
    "_",
    "\\",
    "'",
    "\n",
    "😀",
    "👍🏽",
    "👩‍👩‍👧",
    "你",
    "好",
    "Ж",
    "ж",
    "Ａ",
];
const WORDS: [&str; 8] =
    ["the ", "STRASSE ", "Straße ", "ΟΔΥΣΣΕΥΣ ", "人工智能", "100%", "C:\\temp_", "naïve "];

fn text(choices: &Choices, pieces: usize) -> String {
    (0..pieces)
        .map(|_| match choices.below(4) {
            0 => choices.one_of(&WORDS),
            // The first ones are more common.
            _ => LETTERS[choices.below(LETTERS.len()).min(choices.below(LETTERS.len()))],
        })
        .collect()
}

/// A part of a text, or another text, in another case at times.
fn wanted(choices: &Choices, texts: &[String]) -> String {
    let part = if choices.below(5) == 0 {
        text(choices, 1 + choices.below(4))
    } else {
        let chars: Vec<char> = texts[choices.below(texts.len())].chars().collect();
        let start = choices.below(chars.len().max(1));
        let most = choices.one_of(&[9, 9, 30]);
        chars.into_iter().skip(start).take(1 + choices.below(most)).collect()
    };
    match choices.below(3) {
        _ if part.is_empty() => "的".to_owned(),
        0 => part.to_lowercase(),
        1 => part.to_uppercase(),
        _ => part,
    }
}

/// Folding as the README of the crate states it, from the tables of another library.
fn folded(text: &str) -> Vec<char> {
    text.chars()
        .map(|character| match character {
            'ς' => 'σ',
            'ſ' => 's',
            'ẞ' => 'ß',
            'İ' => 'i',
            other => other.to_lowercase().next().unwrap(),
        })
        .collect()
}

fn contains(text: &str, wanted: &str) -> bool {
    let (text, wanted) = (folded(text), folded(wanted));
    text.windows(wanted.len()).any(|part| part == wanted)
}

/// Adds texts of two users in turns, in batches of some sessions, and returns the messages of the first.
async fn fill(house: &House, choices: &Choices, texts: &[String]) -> Vec<Message> {
    let (mut sessions, mut others) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        sessions.push(house.session(&user("auth0|a")).await);
        others.push(house.session(&user("auth0|b")).await);
    }
    let mut messages = Vec::new();
    for texts in texts.chunks(500) {
        let new: Vec<_> = texts
            .iter()
            .flat_map(|text| {
                let role = choices.one_of(Role::ALL);
                // Most messages go to a few sessions.
                let place = choices.below(20).min(choices.below(20)).min(choices.below(20));
                let message = NewMessage { role, ..house.text(&sessions[place], text) };
                let other = house.text(&others[place], text);
                if choices.below(3) == 0 { vec![message, other] } else { vec![message] }
            })
            .collect();
        messages.extend(house.add(&new).await.into_iter().map(Result::unwrap));
        house.clock.advance(Duration::HOUR);
    }
    messages.retain(|message| message.user_id == user("auth0|a"));
    messages.sort_by_key(|message| std::cmp::Reverse(message.id));
    messages
}

fn filtered(choices: &Choices, text: &str, messages: &[Message]) -> SearchQuery {
    let some = &messages[choices.below(messages.len())];
    let from = some.created_at - Duration::hours(i64::try_from(choices.below(9)).unwrap());
    SearchQuery {
        session_id: (choices.below(5) == 0).then_some(some.session_id),
        role: (choices.below(5) == 0).then_some(some.role),
        from: (choices.below(5) == 0).then_some(from),
        to: (choices.below(5) == 0).then_some(some.created_at),
        ..query(&user("auth0|a"), text)
    }
}

fn passes(query: &SearchQuery, message: &Message) -> bool {
    let all = OffsetDateTime::UNIX_EPOCH..=OffsetDateTime::UNIX_EPOCH + Duration::days(100_000);
    query.session_id.is_none_or(|session_id| message.session_id == session_id)
        && query.role.is_none_or(|role| message.role == role)
        && (query.from.unwrap_or(*all.start())..=query.to.unwrap_or(*all.end())).contains(&message.created_at)
        && contains(&message.content, &query.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_found_as_by_reading_twenty_thousand_texts() {
    let house = House::build().await;
    let choices = Choices::new(14);
    let texts: Vec<String> = (0..20_000).map(|_| text(&choices, choices.below(16))).collect();
    let messages = fill(&house, &choices, &texts).await;
    assert_eq!(messages.len(), 20_000);
    let tight = SearchLimits { messages: 700, bytes: 1 << 20, segments: 20 };
    let mut pages = HashMap::new();
    // Without an index, with one of the older half, and with one of nearly all.
    for (round, segments) in [0, 100, usize::MAX].into_iter().enumerate() {
        house.index_some(&user("auth0|a"), 97, segments).await;
        if segments == usize::MAX {
            let size = SegmentSize { messages: 97, steps: 8, ..SegmentSize::DEFAULT };
            house.add_segment(&house.horizon(&user("auth0|a")).await, size).await.unwrap();
        }
        for _ in 0..30 {
            let query = filtered(&choices, &wanted(&choices, &texts), &messages);
            let expected: Vec<i64> =
                messages.iter().filter(|message| passes(&query, message)).map(|message| message.id).collect();
            let limits = if choices.below(4) == 0 { tight } else { SearchLimits::DEFAULT };
            let limit = if expected.len() > 500 { 500 } else { choices.one_of(&[1, 7, 50, 500]) };
            let found = house
                .found_in_pages(&query, limit.max(i64::try_from(expected.len() / 6).unwrap()), limits)
                .await;
            *pages.entry((round, expected.is_empty(), found.len() > 1)).or_insert(0) += 1;
            assert_eq!(found.concat(), expected, "{query:?}");
        }
    }
    // Each round had queries that found nothing, some on one page, and some on several.
    assert!(pages.len() >= 9, "{pages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_skips_what_was_found_also_over_the_end_of_a_page() {
    let house = House::build().await;
    let a = user("auth0|a");
    let session = house.session(&a).await;
    for _ in 0..10 {
        house.texts(&session, &["even", "odd", "odd", "odd"]).await;
    }
    house.index(&a, 12).await;
    let all = house.found(&query(&a, "EVEN")).await;
    let tight = SearchLimits { messages: 3, bytes: 1 << 20, segments: 1 };
    for (offset, limits) in
        [(0, tight), (1, tight), (9, tight), (10, tight), (11, tight), (4, SearchLimits::DEFAULT)]
    {
        let (mut met, mut page) = (Vec::new(), Page::new(2, Start::Offset(offset)).unwrap());
        loop {
            let slice = house.search(&query(&a, "even"), page, limits).await.slice;
            met.extend(slice.items.iter().map(|hit| hit.message.id));
            match slice.next {
                Some(place) => page = Page::new(2, Start::After(place)).unwrap(),
                None => break,
            }
        }
        assert_eq!(met, all[usize::try_from(offset).unwrap().min(10)..], "{offset}");
    }
}
