//! Passwords: argon2id, and a policy of length and of what is easily guessed (an offline list of common passwords, names,
//! keyboard runs; no rule about kinds of characters).

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

/// In characters.
const SHORTEST: usize = 10;
const LONGEST: usize = 128;
/// What is looked at for guessability: the cost of looking grows with the square.
const LOOKED_AT: usize = 72;
/// Hashing takes 19 MB and some tens of milliseconds: so many at once, the others wait.
const AT_ONCE: usize = 2;

/// Of nothing anybody knows: an unknown address takes as long as a wrong password. Made at each start it would take its 19 MB then.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Weak {
    #[error("must have at least {SHORTEST} characters")]
    Short,
    #[error("must have at most {LONGEST} characters")]
    Long,
    #[error("is easily guessed: {0}")]
    Guessable(String),
}

/// `about` is what others know of the person: name and address make no good password.
pub(crate) fn check(password: &str, about: &[&str]) -> Result<(), Weak> {
    match password.chars().count() {
        ..SHORTEST => return Err(Weak::Short),
        LONGEST.. if password.chars().count() > LONGEST => return Err(Weak::Long),
        _ => {}
    }
    let looked_at: String = password.chars().take(LOOKED_AT).collect();
    let entropy = zxcvbn::zxcvbn(&looked_at, about);
    if entropy.score() >= zxcvbn::Score::Three {
        return Ok(());
    }
    let advice = entropy.feedback().and_then(|feedback| {
        let warning = feedback.warning().map(|warning| warning.to_string());
        warning.or_else(|| feedback.suggestions().first().map(ToString::to_string))
    });
    Err(Weak::Guessable(advice.unwrap_or_else(|| "add another word or two".to_owned())))
}

/// Hashes and checks, off the threads that answer requests.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    pub(crate) async fn hash(&self, password: String) -> String {
        self.turn(move || hashed(&password)).await
    }

    /// Whether it is the password; never, without a hash.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> bool {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS.to_owned());
        let right = self.turn(move || {
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        right.await && known
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.turns.acquire().await.expect("never closed");
        tokio::task::spawn_blocking(work).await.expect("hashing does not panic, and the runtime waits for it")
    }
}

fn hashed(password: &str) -> String {
    Argon2::default().hash_password(password.as_bytes()).expect("the system has randomness").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_easily_guessed_is_refused() {
        let about = ["asha.ramgoolam@nic.example", "Asha", "Ramgoolam"];
        assert_eq!(check("short", &about), Err(Weak::Short));
        assert_eq!(check(&"x".repeat(129), &about), Err(Weak::Long));
        for common in ["password123", "qwertyuiop", "1234567890", "iloveyou12", "asharamgoolam"] {
            assert!(matches!(check(common, &about), Err(Weak::Guessable(_))), "{common}");
        }
        for good in ["correct horse battery staple", "vb7-Qmtr-9xpa", "ग्रहण लगा हुआ चन्द्रमा"]
        {
            assert_eq!(check(good, &about), Ok(()), "{good}");
        }
    }

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse battery".to_owned()).await;
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(passwords.verify("correct horse battery".to_owned(), Some(hash.clone())).await);
        assert!(!passwords.verify("correct horse batter".to_owned(), Some(hash)).await);
        assert!(!passwords.verify("correct horse battery".to_owned(), None).await);
    }

    #[test]
    fn nobodys_hash_costs_what_anybodys_does() {
        let hash = hashed("correct horse battery");
        let (anybodys, nobodys) = (PasswordHash::new(&hash).unwrap(), PasswordHash::new(NOBODYS).unwrap());
        let cost = |hash: &PasswordHash| {
            let lengths = (hash.salt.map(|salt| salt.len()), hash.hash.map(|hash| hash.len()));
            (hash.algorithm.to_string(), hash.version, hash.params.to_string(), lengths)
        };
        assert_eq!(cost(&nobodys), cost(&anybodys));
    }
}
