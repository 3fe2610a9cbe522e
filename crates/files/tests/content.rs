//! The judgement of content: samples of every type, in chunks of any size.

mod json;
mod texts;

use std::{cell::Cell, convert::Infallible, future::ready, ops::Range, sync::OnceLock};

use bytes::Bytes;
use files::content::{Claim, FileType, Judge, Judged, Unsupported};
use futures_util::FutureExt;
use proptest::prelude::*;
use testkit::{FileSample, good_files, hostile_files};

/// The verdict, and the bytes that were fed before it. Chunks have these sizes, over and over.
fn judge(sample: &FileSample, chunks: &[usize]) -> (Result<FileType, Unsupported>, usize) {
    let mut judge = match Claim::new(&sample.name, sample.declared.as_deref()) {
        Ok(claim) => Judge::new(claim),
        Err(unsupported) => return (Err(unsupported), 0),
    };
    let (mut fed, mut rest) = (0, sample.content.as_slice());
    for size in chunks.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        (fed, rest) = (fed + chunk.len(), after);
        if let Err(unsupported) = judge.feed(chunk) {
            assert_eq!(judge.feed(b"more").unwrap_err(), unsupported, "a refusal stays");
            return (Err(unsupported), fed);
        }
    }
    let verdict = match judge.finish() {
        Ok(Judged::Final(file_type)) => Ok(file_type),
        Ok(Judged::Directory(directory)) => {
            let size = u64::try_from(sample.content.len()).unwrap();
            let read = |range| ready(Ok::<_, Infallible>(part(&sample.content, range)));
            directory.judge(size, read).now_or_never().unwrap().unwrap()
        }
        Err(unsupported) => Err(unsupported),
    };
    (verdict, fed)
}

fn part(content: &[u8], range: Range<u64>) -> Bytes {
    let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
    Bytes::copy_from_slice(&content[start..end])
}

fn whole(name: &str, declared: Option<&str>, content: &[u8]) -> Result<FileType, Unsupported> {
    let sample = FileSample {
        name: name.to_owned(),
        declared: declared.map(str::to_owned),
        content: content.to_vec(),
        accepted: None,
        why: String::new(),
    };
    judge(&sample, &[usize::MAX]).0
}

/// Made once: some hold bombs.
fn samples() -> &'static [FileSample] {
    static SAMPLES: OnceLock<Vec<FileSample>> = OnceLock::new();
    SAMPLES.get_or_init(|| [good_files(), hostile_files()].concat())
}

fn small_samples() -> Vec<&'static FileSample> {
    samples().iter().filter(|sample| sample.content.len() < 5000).collect()
}

#[test]
fn samples_are_judged_as_they_must_be() {
    let mut wrong = Vec::new();
    for sample in samples() {
        let (verdict, _) = judge(sample, &[usize::MAX]);
        let stored = verdict.as_ref().ok().map(|file_type| file_type.content_type());
        if stored != sample.accepted {
            wrong.push(format!("{:?} as {:?}, {}: {verdict:?}", sample.name, sample.declared, sample.why));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn good_samples_have_every_type() {
    for file_type in FileType::ALL {
        let is_of = |sample: &&FileSample| sample.accepted == Some(file_type.content_type());
        assert!(good_files().iter().filter(is_of).count() >= 1, "{file_type:?}");
    }
    assert!(good_files().iter().all(|sample| sample.accepted.is_some()));
}

#[test]
fn chunks_do_not_matter() {
    for sample in samples() {
        let (expected, _) = judge(sample, &[usize::MAX]);
        for chunks in [[1, 1], [2, 3], [1444, 2], [1445, 4096], [1446, 65_536]] {
            if chunks[1] < 4 && sample.content.len() > 20_000 {
                continue;
            }
            assert_eq!(judge(sample, &chunks).0, expected, "{} in chunks of {chunks:?}", sample.why);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A sample with a few bytes changed, cut, and in any chunks.
    #[test]
    fn chunks_of_damaged_samples_do_not_matter(
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        chunks in prop::collection::vec(1..3000_usize, 1..6),
    ) {
        let samples = small_samples();
        let mut sample = FileSample::clone(samples[index.index(samples.len())]);
        if is_cut && !sample.content.is_empty() {
            sample.content.truncate(cut.index(sample.content.len()));
        }
        for (at, byte) in changes {
            if !sample.content.is_empty() {
                let at = at.index(sample.content.len());
                sample.content[at] = byte;
            }
        }
        let (expected, _) = judge(&sample, &[usize::MAX]);
        prop_assert_eq!(&judge(&sample, &chunks).0, &expected);
        prop_assert_eq!(&judge(&sample, &[1]).0, &expected);
    }
}

#[test]
fn refusals_come_early() {
    let refused_after = |name: &str, content: &[u8]| {
        let sample = FileSample {
            name: name.to_owned(),
            declared: None,
            content: content.to_vec(),
            accepted: None,
            why: String::new(),
        };
        let (verdict, fed) = judge(&sample, &[1]);
        verdict.unwrap_err();
        fed
    };
    let filler = vec![b' '; 100_000];
    // The head is what a browser looks at.
    assert_eq!(refused_after("a.png", &filler), 1445);
    assert_eq!(refused_after("a.txt", &[b"<html>".as_slice(), &filler].concat()), 1445);
    assert_eq!(refused_after("a.txt", &[&filler[..5000], b"<html>", &filler].concat()), 5002);
    assert_eq!(refused_after("a.txt", &[&filler[..5000], b"\0", &filler].concat()), 5001);
    assert_eq!(refused_after("a.json", &[&filler[..5000], b"1 2", &filler].concat()), 5003);
}

#[test]
fn refusals_say_what_was_found() {
    let found = |name: &str, declared: Option<&str>, content: &[u8]| {
        let unsupported = whole(name, declared, content).unwrap_err();
        (unsupported.declared, unsupported.detected)
    };
    let some = |text: &str| Some(text.to_owned());
    let png = samples().iter().find(|sample| sample.accepted == Some("image/png")).unwrap();
    let xlsx = small_samples()
        .into_iter()
        .find(|sample| sample.name == "table.xlsx" && sample.accepted.is_none())
        .unwrap();
    assert_eq!(
        found("a.pdf", Some("Application/PDF; x=1"), &png.content),
        (some("application/pdf"), some("image/png"))
    );
    assert_eq!(found("a.pdf", None, b"plain"), (None, some("text/plain")));
    assert_eq!(found("a.txt", None, b" \n<!doctype html>").1, some("text/html"));
    assert_eq!(found("a.txt", None, b"\xef\xbb\xbf<?xml version='1.0'?>").1, some("text/xml"));
    assert_eq!(found("a.txt", None, b"<svg onload=a>").1, some("image/svg+xml"));
    assert_eq!(found("a.txt", None, b"#!/bin/sh").1, some("text/x-shellscript"));
    assert_eq!(found("a.txt", None, b"%PDF-1.4").1, some("application/pdf"));
    assert_eq!(found("a.json", None, b"{").1, some("text/plain"));
    assert_eq!(found("a.xlsx", None, &xlsx.content).1, some("application/zip"));
    assert_eq!(found("a.txt", None, b"\xff\xff\xff").1, None);
    // A faulty image is no other type.
    assert_eq!(found("a.png", None, &png.content[..20]).1, None);
    // Nothing was looked at.
    assert_eq!(found("a.exe", Some("text/plain"), b"MZ"), (some("text/plain"), None));
    assert_eq!(found("a.pdf", Some(&"x".repeat(5000)), b"").0, some(&"x".repeat(255)));
}

#[test]
fn directories_are_read_in_few_pieces() {
    for sample in samples().iter().filter(|sample| sample.content.starts_with(b"PK\x03\x04")) {
        let mut judge = Judge::new(Claim::new("a.xlsx", None).unwrap());
        if judge.feed(&sample.content).is_err() {
            continue;
        }
        let Ok(Judged::Directory(directory)) = judge.finish() else { continue };
        let (reads, bytes) = (Cell::new(0), Cell::new(0));
        let size = u64::try_from(sample.content.len()).unwrap();
        let read = |range: Range<u64>| {
            assert!(range.start <= range.end && range.end <= size, "{range:?} of {size}: {}", sample.why);
            reads.set(reads.get() + 1);
            bytes.set(bytes.get() + range.end - range.start);
            ready(Ok::<_, Infallible>(part(&sample.content, range)))
        };
        directory.judge(size, read).now_or_never().unwrap().unwrap().ok();
        assert!(reads.get() <= 3 && bytes.get() < 3 << 20, "{}", sample.why);
    }
}

#[test]
fn failed_and_short_reads_are_no_verdict_of_acceptance() {
    let good = good_files().into_iter().find(|sample| sample.name == "table.xlsx").unwrap();
    let size = u64::try_from(good.content.len()).unwrap();
    let directory = || {
        let mut judge = Judge::new(Claim::new("a.xlsx", None).unwrap());
        judge.feed(&good.content).unwrap();
        let Judged::Directory(directory) = judge.finish().unwrap() else { panic!("final") };
        directory
    };
    for failing in 0..3 {
        let reads = Cell::new(0);
        let read = |range| {
            let number = reads.replace(reads.get() + 1);
            ready(if number == failing { Err("gone") } else { Ok(part(&good.content, range)) })
        };
        assert_eq!(directory().judge(size, read).now_or_never().unwrap().unwrap_err(), "gone");
        let reads = Cell::new(0);
        let read = |range| {
            let bytes = part(&good.content, range);
            let number = reads.replace(reads.get() + 1);
            let kept = if number == failing { bytes.len() / 2 } else { bytes.len() };
            ready(Ok::<_, Infallible>(bytes.slice(..kept)))
        };
        directory().judge(size, read).now_or_never().unwrap().unwrap().unwrap_err();
    }
    // A size that is wrong, down to none.
    for size in [0, 1, 21, size - 1] {
        let read = |range| ready(Ok::<_, Infallible>(part(&good.content, range)));
        directory().judge(size, read).now_or_never().unwrap().unwrap().unwrap_err();
    }
}

#[test]
fn judging_can_be_sent_to_another_thread() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let read = |_| ready(Err::<Bytes, _>("gone"));
    let mut judge = Judge::new(Claim::new("a.xlsx", None).unwrap());
    judge.feed(b"PK\x03\x04").unwrap();
    let Judged::Directory(directory) = sent(judge).finish().unwrap() else { panic!("final") };
    assert_eq!(sent(directory.judge(100, read)).now_or_never().unwrap().unwrap_err(), "gone");
}

#[test]
fn types_are_those_of_the_contract() {
    let extensions: Vec<_> = FileType::ALL.iter().flat_map(|one| one.extensions()).copied().collect();
    assert_eq!(extensions, ["pdf", "csv", "txt", "json", "xls", "xlsx", "jpg", "jpeg", "png", "gif", "webp"]);
    for file_type in FileType::ALL {
        for extension in file_type.extensions() {
            let claim = Claim::new(&format!("a.{extension}"), Some(file_type.content_type())).unwrap();
            assert_eq!(claim.file_type(), file_type);
        }
    }
}
