#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// A request as clients write it.
fn multibulk(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend(*argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn command(data: &[u8]) -> Command<'_> {
    match front(data) {
        Parsed::Complete {
            value: Front::Command(command),
            ..
        } => command,
        other => panic!("{other:?}"),
    }
}

/// How long the frame at the front is, if it is there up to its last header.
fn measured(data: &[u8]) -> u64 {
    let (at, mut rest) = command(data).rest();
    let covered = rest.cover(&data[at..]).unwrap();
    assert!(rest.is_done());
    at as u64 + covered
}

#[test]
fn a_name_and_its_arguments_are_read() {
    let data = [&multibulk(&[b"SET", b"key", b"value"])[..], b"*1\r\n"].concat();
    let set = command(&data);
    assert_eq!((set.name(), set.argc), (&b"SET"[..], 3));
    let all = set.arguments(9);
    assert_eq!(
        all,
        Parsed::Complete {
            value: vec![&b"key"[..], b"value"],
            len: data.len() - 4
        }
    );
    assert!(matches!(set.arguments(1), Parsed::Complete { value, .. } if value == [b"key"]));
    assert_eq!(measured(&data), data.len() as u64 - 4);
}

#[test]
fn inline_requests_have_names_and_arguments_too() {
    let data = b"set \"a b\" 'c'\r\nGET x\r\n";
    let set = command(data);
    assert_eq!((set.name(), set.argc), (&b"set"[..], 3));
    assert!(
        matches!(set.arguments(9), Parsed::Complete { value, len: 15 } if value == [&b"a b"[..], b"c"])
    );
    assert_eq!(measured(data), 15);
}

#[test]
fn nothing_to_do_is_told_from_something() {
    for (data, expected) in [
        (&b"\r\nPING\r\n"[..], 2),
        (b"\n", 1),
        (b"   \r\n", 5),
        (b"*0\r\n", 4),
        (b"*-1\r\n*1\r\n", 5),
        (b"*-9223372036854775808\r\n", 23),
    ] {
        assert!(
            matches!(front(data), Parsed::Complete { value: Front::Empty(len), .. } if len == expected),
            "{}",
            data.escape_ascii()
        );
    }
}

#[test]
fn a_value_is_covered_before_it_comes() {
    let data = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nxx";
    assert_eq!(measured(data), data.len() as u64 - 2 + 500_000_002);
}

#[test]
fn a_name_that_is_too_long_is_not_waited_for() {
    let data = b"*2\r\n$1000\r\nabc";
    let long = command(data);
    assert_eq!((long.name(), long.argc), (&b""[..], 2));
    let at_limit = [&b"*1\r\n$64\r\n"[..], &[b'a'; MAX_NAME]].concat();
    assert_eq!(command(&at_limit).name().len(), MAX_NAME);
    assert!(matches!(
        front(&at_limit[..70]),
        Parsed::Incomplete { at_least: 74 } | Parsed::Incomplete { .. }
    ));
}

#[test]
fn what_redis_refuses_is_refused() {
    for (data, why) in [
        (&b"*x\r\n"[..], BAD_COUNT),
        (b"*01\r\n", BAD_COUNT),
        (b"*+1\r\n", BAD_COUNT),
        (b"*\r\n", BAD_COUNT),
        (b"*-\r\n", BAD_COUNT),
        (b"*-0\r\n", BAD_COUNT),
        (b"*-01\r\n", BAD_COUNT),
        (b"*-9223372036854775809\r\n", BAD_COUNT),
        (b"*1048577\r\n", BAD_COUNT),
        (b"*1111111111111111111111111111111111111\r\n", BAD_COUNT),
        (b"*1\r\nPING", NO_BULK),
        (b"*1\r\n$-1\r\n", BAD_LENGTH),
        (b"*1\r\n$536870913\r\n", BAD_LENGTH),
        (b"*1\r\n$ 1\r\n", BAD_LENGTH),
        (b"GET \"a\r\n", UNBALANCED),
        (b"GET a\0\r\n", NUL_INLINE),
    ] {
        assert_eq!(front(data), Parsed::Invalid(why), "{}", data.escape_ascii());
    }
    let long = vec![b'a'; MAX_INLINE];
    assert_eq!(front(&long), Parsed::Invalid(BIG_INLINE));
    let mut rest = command(b"*2\r\n$1\r\na\r\nb").rest().1;
    assert_eq!(rest.cover(b"$1\r\na\r\nb"), Err(NO_BULK));
}

/// What a whole stream of requests is made of: names with their argument counts, how many bytes,
/// and why it is no good.
type Outcome = (Vec<(Vec<u8>, u64)>, u64, Option<ProtocolError>);

fn outcome(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let (mut found, mut covered, mut rest) = (Vec::new(), 0u64, Rest::default());
    for end in ends {
        while let Some(shown) = usize::try_from(covered)
            .ok()
            .and_then(|at| bytes.get(at..end))
        {
            if !rest.is_done() {
                match rest.cover(shown) {
                    Ok(0) => break,
                    Ok(more) => covered += more,
                    Err(why) => return (found, 0, Some(why)),
                }
                continue;
            }
            match front(shown) {
                Parsed::Complete {
                    value: Front::Empty(len),
                    ..
                } => covered += len as u64,
                Parsed::Complete {
                    value: Front::Command(command),
                    ..
                } => {
                    found.push((command.name().to_vec(), command.argc));
                    let (at, next) = command.rest();
                    rest = next;
                    covered += at as u64;
                    match rest.cover(&shown[at..]) {
                        Ok(more) => covered += more,
                        Err(why) => return (found, 0, Some(why)),
                    }
                }
                Parsed::Incomplete { at_least } => {
                    assert!(at_least > shown.len());
                    break;
                }
                Parsed::Invalid(why) => return (found, 0, Some(why)),
            }
        }
    }
    (found, covered, None)
}

proptest! {
    #[test]
    fn requests_end_where_they_were_written_to_end(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|all| multibulk(&all.iter().map(Vec::as_slice).collect::<Vec<_>>()))
            .collect();
        let (found, covered, failed) = outcome(&bytes, &cuts);
        prop_assert_eq!(failed, None);
        prop_assert_eq!(covered, bytes.len() as u64);
        let expected: Vec<_> = requests
            .iter()
            .map(|all| (all[0].clone(), all.len() as u64))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_input_in_any_split_has_the_same_outcome(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            prop::collection::vec(
                prop::sample::select(b"*$-0123 \"'\\xPING\r\n\r\n".to_vec()), 0..64),
        ],
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = outcome(&bytes, &[]);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&outcome(&bytes, &cuts), &whole);
        prop_assert_eq!(&outcome(&bytes, &every), &whole);
    }

    #[test]
    fn arguments_never_panic_nor_reach_past_what_is_shown(
        bytes in prop::collection::vec(
            prop::sample::select(b"*$-0123 PING\r\n\r\n".to_vec()), 0..64),
        most in 0usize..4,
    ) {
        if let Parsed::Complete { value: Front::Command(command), .. } = front(&bytes) {
            match command.arguments(most) {
                Parsed::Complete { value, len } => {
                    prop_assert!(len <= bytes.len() && value.len() <= most);
                }
                Parsed::Incomplete { at_least } => prop_assert!(at_least > bytes.len()),
                Parsed::Invalid(_) => {}
            }
        }
    }
}
