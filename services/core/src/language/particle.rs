//! Korean particles after names and numbers: which form follows depends on how the word before it ends when read aloud.

/// A particle with both of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Particle {
    /// 은/는
    Topic,
    /// 이/가
    Subject,
    /// 을/를
    Object,
    /// 과/와
    With,
    /// 으로/로
    By,
}

/// How a word ends when read aloud in Korean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// A final ㄹ, after which 로 stands like after a vowel.
    Rieul,
    Closed,
}

impl Particle {
    fn after(self, ending: Ending) -> &'static str {
        let is_open = ending == Ending::Open;
        match self {
            Self::Topic => ["은", "는"][usize::from(is_open)],
            Self::Subject => ["이", "가"][usize::from(is_open)],
            Self::Object => ["을", "를"][usize::from(is_open)],
            Self::With => ["과", "와"][usize::from(is_open)],
            Self::By => ["으로", "로"][usize::from(ending != Ending::Closed)],
        }
    }
}

/// The word with its particle: `alice는`, `admin은`, `3을`.
pub fn with(word: &str, particle: Particle) -> String {
    format!("{word}{}", particle.after(ending(word)))
}

/// Of the last letter or digit; what follows it (a quote, a bracket) is not read.
fn ending(word: &str) -> Ending {
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    let Some(last) = word.chars().next_back() else {
        return Ending::Open;
    };
    match last {
        '가'..='힣' => match (u32::from(last) - u32::from('가')) % 28 {
            0 => Ending::Open,
            8 => Ending::Rieul,
            _ => Ending::Closed,
        },
        // 영, 일, 이, 삼, 사, 오, 육, 칠, 팔, 구.
        '1' | '7' | '8' => Ending::Rieul,
        '0' | '3' | '6' => Ending::Closed,
        'A'..='Z' | 'a'..='z' => latin(word),
        _ => Ending::Open,
    }
}

/// Names of letters where it is an abbreviation, else as such words are commonly transcribed: after a vowel a stop closes
/// the syllable (`bucket` 버킷), after a consonant it takes a vowel of its own (`client` 클라이언트).
fn latin(word: &str) -> Ending {
    let letters: Vec<char> = word.chars().rev().take_while(char::is_ascii_alphabetic).collect();
    let is_abbreviation = letters.len() <= 5 && letters.iter().all(char::is_ascii_uppercase);
    if is_abbreviation || letters.len() == 1 {
        return match letters[0].to_ascii_uppercase() {
            'L' | 'R' => Ending::Rieul,
            'M' | 'N' => Ending::Closed,
            _ => Ending::Open,
        };
    }
    let lower = |at: usize| letters.get(at).map(char::to_ascii_lowercase);
    let is_vowel = |c: Option<char>| c.is_some_and(|c| "aeiouy".contains(c));
    match (lower(0).unwrap_or_default(), lower(1)) {
        ('l', _) | ('e', Some('l')) => Ending::Rieul,
        ('m' | 'n', _) | ('e', Some('m' | 'n')) | ('g', Some('n')) | ('k', Some('c')) => Ending::Closed,
        ('b' | 'p' | 't' | 'k' | 'c', before) if is_vowel(before) => Ending::Closed,
        _ => Ending::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_follow_the_sound() {
        use Particle::{By, Object, Subject, Topic, With};
        for (word, particle, expected) in [
            ("사용자", Topic, "사용자는"),
            ("역할", Topic, "역할은"),
            ("역할", By, "역할로"),
            ("계정", By, "계정으로"),
            ("자동화", By, "자동화로"),
            ("자격 증명", Object, "자격 증명을"),
            ("추적", With, "추적과"),
            ("키", With, "키와"),
            ("alice", Subject, "alice가"),
            ("bob", Subject, "bob이"),
            ("admin", Topic, "admin은"),
            ("terraform", Object, "terraform을"),
            ("deploy", Object, "deploy를"),
            ("ops-role", By, "ops-role로"),
            ("payments-bucket", Subject, "payments-bucket이"),
            ("audit-client", Subject, "audit-client가"),
            ("nightly-backup", Object, "nightly-backup을"),
            ("web-server", Topic, "web-server는"),
            ("AWS", Subject, "AWS가"),
            ("IAM", Subject, "IAM이"),
            ("SSM", Object, "SSM을"),
            ("MFA", Subject, "MFA가"),
            ("111122223333", Subject, "111122223333이"),
            ("user-7", By, "user-7로"),
            ("10", Object, "10을"),
            ("2", Object, "2를"),
            ("“farid.olsen”", Topic, "“farid.olsen”은"),
            ("", Topic, "는"),
            ("…", Topic, "…는"),
        ] {
            assert_eq!(with(word, particle), expected);
        }
    }
}
