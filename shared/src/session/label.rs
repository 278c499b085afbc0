//! A short name for a device, from what its client says of itself. Pure.

/// From the most particular to the most general: Edge says that it is Chrome, and Chrome that it is Safari.
const CLIENTS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python-", "Python"),
    ("okhttp/", "an app"),
    ("Dalvik/", "an app"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// As "Firefox on Linux"; nothing where the client does not say what it is.
pub(super) fn of_user_agent(user_agent: &str) -> Option<String> {
    let find = |known: &[(&str, &'static str)]| {
        let found = known.iter().find(|(mark, _)| user_agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    match (find(CLIENTS), find(SYSTEMS)) {
        (Some(client), Some(system)) => Some(format!("{client} on {system}")),
        (Some(name), None) | (None, Some(name)) => Some(name.to_owned()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of_user_agent;

    #[test]
    fn a_device_is_named_by_its_browser_and_system() {
        let named = |text: &str| of_user_agent(text).unwrap_or_default();
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                      Safari/537.36";
        assert_eq!(named(chrome), "Chrome on Windows");
        assert_eq!(named(&format!("{chrome} Edg/126.0.0.0")), "Edge on Windows");
        assert_eq!(
            named("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"),
            "Firefox on Linux"
        );
        assert_eq!(
            named(
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari/604.1"
            ),
            "Safari on iPhone"
        );
        assert_eq!(named("curl/8.5.0"), "curl");
        assert_eq!(of_user_agent("something else"), None);
    }
}
