use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64;

/// What comes of these bytes and the end of their connection, read in pieces of so many.
fn read_by(bytes: &[u8], piece: usize) -> Result<Option<Received>, NoReply> {
    let mut reading = Reading::new(LIMIT);
    for piece in bytes.chunks(piece) {
        if reading.take(piece)? {
            break;
        }
    }
    Ok(reading.finish())
}

fn read(bytes: &str) -> Received {
    read_by(bytes.as_bytes(), usize::MAX).unwrap().unwrap()
}

fn body(bytes: &str) -> Result<Bytes, Reason> {
    read(bytes).reply.body
}

const UNREADABLE: Result<Bytes, Reason> = Err(Reason::UnreadableAnswer);

#[test]
fn an_answer_ends_by_its_length_its_last_chunk_or_its_connection() {
    let length = read("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}");
    assert_eq!((length.reply.status, length.leaves_open), (201, true));
    assert_eq!(length.reply.body, Ok(Bytes::from_static(b"{}")));
    let chunks = read(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n",
    );
    assert_eq!((chunks.reply.body, chunks.leaves_open), (Ok(Bytes::from_static(b"abcd")), true));
    let closed = read("HTTP/1.1 200 OK\r\n\r\nabc");
    assert_eq!((closed.reply.body, closed.leaves_open), (Ok(Bytes::from_static(b"abc")), false));
    let none = read("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!((none.reply.body, none.leaves_open), (Ok(Bytes::new()), true));
}

#[test]
fn what_the_other_side_does_not_keep_open_carries_nothing_more() {
    for head in ["HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close", "HTTP/1.0 200 OK"] {
        let answer = read(&format!("{head}\r\nContent-Length: 1\r\n\r\na"));
        assert_eq!((answer.reply.body, answer.leaves_open), (Ok(Bytes::from_static(b"a")), false), "{head}");
    }
    // An answer to what nobody asked.
    let more = read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n");
    assert_eq!((more.reply.body, more.leaves_open), (Ok(Bytes::from_static(b"a")), false));
}

#[test]
fn an_answer_follows_what_only_tells_that_one_will() {
    let answer = read(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\na",
    );
    assert_eq!((answer.reply.status, answer.reply.body), (201, Ok(Bytes::from_static(b"a"))));
    assert_eq!(read_by(b"HTTP/1.1 100 Continue\r\n\r\n", 7), Ok(None));
}

#[test]
fn where_the_end_is_in_doubt_nothing_is_read() {
    for headers in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: +1",
        "Content-Length: 1, 1",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
    ] {
        let answer = read(&format!("HTTP/1.1 201 Created\r\n{headers}\r\n\r\n1\r\na\r\n0\r\n\r\n"));
        assert_eq!((answer.reply.status, answer.reply.body), (201, UNREADABLE), "{headers}");
        assert!(!answer.leaves_open, "{headers}");
    }
    let twice = body("HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na");
    assert_eq!(twice, Ok(Bytes::from_static(b"a")));
    for chunks in ["x\r\n", "1\r\nab", "1\r\na\r\nffffffffffffffffff\r\n", "0\r\n : \r\n\r\n"] {
        let answer = body(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(answer, UNREADABLE, "{chunks:?}");
    }
}

#[test]
fn nothing_grows_beyond_its_limit() {
    let (most, more) = ("a".repeat(LIMIT), "a".repeat(LIMIT + 1));
    let hex = |text: &str| format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
    assert_eq!(body(&format!("HTTP/1.1 200 OK\r\n\r\n{most}")), Ok(most.clone().into()));
    assert_eq!(body(&format!("HTTP/1.1 200 OK\r\n\r\n{more}")), UNREADABLE);
    assert_eq!(body(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", LIMIT + 1)), UNREADABLE);
    let chunked =
        |chunks: &str| body(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
    assert_eq!(chunked(&hex(&most)), Ok(most.into()));
    assert_eq!(chunked(&hex(&more)), UNREADABLE);
    let endless = "a".repeat(HEAD_BYTES + 1);
    assert_eq!(chunked(&format!("1;{endless}")), UNREADABLE, "a line before a chunk");
    assert_eq!(chunked(&format!("0\r\nA: {endless}")), UNREADABLE, "what follows the last chunk");
    assert_eq!(read_by(format!("HTTP/1.1 200 OK\r\nA: {endless}").as_bytes(), 1_000), Err(NoReply));
    let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
    assert_eq!(read_by(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes(), usize::MAX), Err(NoReply));
}

#[test]
fn what_is_not_whole_says_why() {
    let cut_off = |bytes: &str| {
        let mut reading = Reading::new(LIMIT);
        assert_eq!(reading.take(bytes.as_bytes()), Ok(false), "{bytes}");
        reading.cut_off(Reason::TimedOut).map(|received| (received.reply.body, received.leaves_open))
    };
    assert_eq!(cut_off("HTTP/1.1 200"), None);
    for rest in ["Content-Length: 2\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "\r\nab"] {
        let answer = cut_off(&format!("HTTP/1.1 200 OK\r\n{rest}"));
        assert_eq!(answer, Some((Err(Reason::TimedOut), false)), "{rest}");
    }
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"), UNREADABLE);
    assert_eq!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), UNREADABLE);
}

#[test]
fn retry_after_comes_in_seconds_or_as_a_date() {
    let check = |asked: &str, date: Option<&str>, expected: Option<u64>| {
        let date = date.map_or_else(String::new, |date| format!("Date: {date}\r\n"));
        let answer =
            read(&format!("HTTP/1.1 429 Later\r\nRetry-After: {asked}\r\n{date}Content-Length: 0\r\n\r\n"));
        assert_eq!(answer.reply.retry_after, expected.map(Duration::from_secs), "{asked} at {date}");
    };
    let now = Some("Wed, 21 Oct 2026 07:28:00 GMT");
    check("120", None, Some(120));
    check(" 0 ", now, Some(0));
    check("1000000000", now, Some(1_000_000_000));
    check("99999999999999999999999999", now, Some(u64::MAX));
    check("Wed, 21 Oct 2026 07:30:00 GMT", now, Some(120));
    check("Wed, 21 Oct 2026 07:00:00 GMT", now, Some(0));
    check("Wed, 21 Oct 2026 07:30:00 GMT", None, None);
    check("-5", now, None);
    check("soon", now, None);
    check("", now, None);
}

fn arb_answer() -> impl Strategy<Value = Vec<u8>> {
    let interim = prop_oneof![Just(""), Just("HTTP/1.1 100 Continue\r\n\r\n")];
    let rest = prop_oneof![
        ".{0,80}".prop_map(|text| format!("Content-Length: {}\r\n\r\n{text}", text.len())),
        ".{0,80}".prop_map(|text| format!("\r\n{text}")),
        (proptest::collection::vec("[a-z\r\n]{1,20}", 0..6), any::<bool>()).prop_map(|(chunks, whole)| {
            let mut text = "Transfer-Encoding: chunked\r\n\r\n".to_owned();
            for chunk in chunks {
                text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
            }
            text + if whole { "0\r\n\r\n" } else { "" }
        }),
        "[ -~\r\n]{0,80}",
    ];
    (interim, rest).prop_map(|(interim, rest)| format!("{interim}HTTP/1.1 200 OK\r\n{rest}").into_bytes())
}

proptest! {
    /// What is read does not depend on how it was cut, but for what comes after its end.
    #[test]
    fn an_answer_is_the_same_in_whatever_pieces_it_comes(bytes in arb_answer(), piece in 1_usize..40) {
        let open = |answer: Result<Option<Received>, NoReply>| answer.map(|known| known.map(|known| known.reply));
        prop_assert_eq!(open(read_by(&bytes, piece)), open(read_by(&bytes, usize::MAX)));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_by(&bytes, 9);
    }
}
