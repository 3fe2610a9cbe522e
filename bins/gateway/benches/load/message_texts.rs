//! Texts like those of a chat, in English and Chinese: the same ones every time.
//!
//! Words come as often as in real texts: the most common ones by the share that counts of large collections give them, the rest by
//! Zipf's law over a vocabulary that is made of syllables.

/// The most common words, most common first.
const ENGLISH: &str = "the be to of and a in that have i it for not on with he as you do at this but his by from they we say her \
    she or an will my one all would there their what so up out if about who get which go me when make can like time no just him \
    know take people into year your good some could them see other than then now look only come its over think also back after \
    use two how our work first well way even new want because any these give day most us is are was were been has had data file \
    error please thanks code question answer example model function value list table user message order price question";
/// The most common characters, most common first.
const CHARACTERS: &str = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学\
    如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二\
    等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件";
/// Common words of two characters.
const CHINESE: &str = "我们 他们 什么 没有 自己 可以 知道 这个 一个 因为 所以 但是 如果 问题 时候 现在 工作 学习 中国 数据 模型 用户 消息 系统 \
    谢谢 请问 怎么 为什么 代码 函数 文件 错误 人工智能 使用 需要 时间 公司 方法 结果 发展 生活 社会 经济 技术 研究 情况 可能 应该 已经 开始";
const SYLLABLES: [&str; 32] = [
    "ba", "con", "der", "en", "fi", "gra", "hol", "in", "ja", "ker", "lo", "men", "nor", "op", "pre", "qua",
    "re", "ster", "tion", "un", "ver", "wi", "xen", "yl", "zo", "chi", "sha", "thro", "pul", "mar", "est",
    "ling",
];

/// Texts that follow from a seed.
pub struct Texts {
    state: u64,
    english: Vec<&'static str>,
    chinese: Vec<&'static str>,
    characters: Vec<char>,
}

impl Texts {
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            english: ENGLISH.split_whitespace().collect(),
            chinese: CHINESE.split_whitespace().collect(),
            characters: CHARACTERS.chars().filter(|character| !character.is_whitespace()).collect(),
        }
    }

    /// A number from 0 to 1, by the generator SplitMix64.
    fn share(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }

    /// The rank of a word in a vocabulary, by Zipf's law: the logarithm of the rank is even.
    fn rank(&mut self, words: usize) -> usize {
        (((words + 1) as f64).powf(self.share()) as usize).saturating_sub(1).min(words - 1)
    }

    /// A message: half of them short, as of a person, half long, as of a model; 6 of 10 in English, the others in Chinese, with
    /// some English words.
    pub fn message(&mut self) -> String {
        let length = if self.below(2) == 0 { 2 + self.below(14) } else { 10 + self.below(90) };
        let mut text = String::new();
        if self.below(10) < 6 {
            for word in 0..length {
                self.english_word(&mut text);
                text.push_str(if word % 9 == 8 { ". " } else { " " });
            }
        } else {
            for word in 0..length {
                match self.below(20) {
                    0 => self.english_word(&mut text),
                    _ => self.chinese_word(&mut text),
                }
                if word % 8 == 7 {
                    text.push('，');
                }
            }
        }
        if self.below(30) == 0 {
            text.push('👍');
        }
        text
    }

    fn english_word(&mut self, text: &mut String) {
        let rank = self.rank(60_000);
        match self.english.get(rank) {
            Some(word) => text.push_str(word),
            None => text.push_str(&rare(rank)),
        }
    }

    fn chinese_word(&mut self, text: &mut String) {
        match self.below(10) {
            0..3 => {
                let rank = self.rank(self.chinese.len());
                text.push_str(self.chinese[rank]);
            }
            // Some 3,500 characters are in use.
            _ => {
                let rank = self.rank(3_500);
                let rare = || char::from_u32(0x4e00 + rank as u32 * 5).unwrap();
                text.push(self.characters.get(rank).copied().unwrap_or_else(rare));
            }
        }
    }
}

/// A word that is made of syllables.
pub fn rare(rank: usize) -> String {
    let mut word = String::new();
    let mut rest = rank;
    while rest > 0 {
        word.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
    word
}
