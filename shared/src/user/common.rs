//! Passwords that everybody tries first. Pure.

/// Sorted by their bytes, in lower case, one a line; `common/LICENSE` says where they come from.
const PASSWORDS: &str = include_str!("common/passwords.txt");

/// Whether the password, in lower case, is one of them. Looks for its line by bisection: nothing is built from the
/// list, in memory or at start.
pub(super) fn contains(lower_case: &str) -> bool {
    bisect(PASSWORDS.as_bytes(), lower_case.as_bytes())
}

fn bisect(lines: &[u8], wanted: &[u8]) -> bool {
    // Both stand at the beginning of a line, or at the end.
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low.midpoint(high);
        let is_end = |byte: &u8| *byte == b'\n';
        let start = lines[..middle].iter().rposition(is_end).map_or(0, |at| at + 1);
        let length = lines[start..]
            .iter()
            .position(is_end)
            .unwrap_or(lines.len() - start);
        match lines[start..start + length].cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = start + length + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_long_enough() {
        let lines: Vec<&[u8]> = PASSWORDS
            .as_bytes()
            .trim_ascii_end()
            .split(|byte| *byte == b'\n')
            .collect();
        assert!(lines.len() > 10_000, "{}", lines.len());
        assert!(lines.is_sorted_by(|one, next| one < next));
        assert!(
            PASSWORDS
                .lines()
                .all(|line| line.chars().count() >= 8 && line == line.to_lowercase())
        );
    }

    #[test]
    fn each_of_them_is_found_and_nothing_else() {
        assert!(PASSWORDS.lines().all(contains));
        for other in [
            "",
            "a",
            "!",
            "~~~~~~~~~",
            "password1\n",
            "passwor",
            "correct horse battery staple",
        ] {
            assert!(!contains(other), "{other}");
        }
    }
}
