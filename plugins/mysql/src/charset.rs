//! Collations by the numbers by which clients name them as they log in (`information_schema.COLLATIONS`).

/// utf8mb4_general_ci, which every server has.
pub(crate) const UTF8MB4: u16 = 45;

/// Number, character set, collation.
const KNOWN: &[(u16, &str, &str)] = &[
    (5, "latin1", "latin1_german1_ci"),
    (8, "latin1", "latin1_swedish_ci"),
    (9, "latin2", "latin2_general_ci"),
    (11, "ascii", "ascii_general_ci"),
    (26, "cp1250", "cp1250_general_ci"),
    (28, "gbk", "gbk_chinese_ci"),
    (30, "latin5", "latin5_turkish_ci"),
    (31, "latin1", "latin1_german2_ci"),
    (33, "utf8", "utf8_general_ci"),
    (UTF8MB4, "utf8mb4", "utf8mb4_general_ci"),
    (46, "utf8mb4", "utf8mb4_bin"),
    (47, "latin1", "latin1_bin"),
    (48, "latin1", "latin1_general_ci"),
    (51, "cp1251", "cp1251_general_ci"),
    (63, "binary", "binary"),
    (65, "ascii", "ascii_bin"),
    (83, "utf8", "utf8_bin"),
    (192, "utf8", "utf8_unicode_ci"),
    (224, "utf8mb4", "utf8mb4_unicode_ci"),
    (246, "utf8mb4", "utf8mb4_unicode_520_ci"),
    (255, "utf8mb4", "utf8mb4_0900_ai_ci"),
];

/// The character set and the collation of this number. None: what the server makes of it.
#[must_use]
pub(crate) fn named(number: u16) -> Option<(&'static str, &'static str)> {
    let known = KNOWN.iter().find(|(known, ..)| *known == number);
    known.map(|(_, charset, collation)| (*charset, *collation))
}

/// Character sets in which a byte of ASCII may be the second one of a character, so that SQL cannot be read
/// byte by byte.
const HIDING: &[&[u8]] = &[b"big5", b"sjis", b"gbk", b"cp932", b"gb18030"];

/// Whether the character set is one of those: the one of this name, if a client has chosen it, else that of
/// this collation.
#[must_use]
pub(crate) fn hides_ascii(number: u16, name: Option<&[u8]>) -> bool {
    match name {
        Some(name) => HIDING.contains(&name),
        None => matches!(number, 1 | 84 | 13 | 88 | 28 | 87 | 95 | 96 | 248..=250),
    }
}
