//! Files that a config names reach the plugin, and what is in them nobody else.

use super::loading::Folder;
use super::*;
use crate::contract::{Side, Step};
use crate::plugin::{LoadError, SessionHooks};

/// Two lines, as a list of users might have them.
const SECRET: &str = "\"app\" \"a password for the app\"\n\"web\" \"another ä password\"\n";

fn load_from(folder: &Folder, deed: Value) -> Result<Arc<Plugin>, LoadError> {
    let mut config = config(deed);
    config.folder = folder.0.clone();
    Runtime::new(None).unwrap().load(&config)
}

/// What is said when a config with this under `file` is loaded.
fn complaint(folder: &Folder, file: &Value) -> String {
    let error = load_from(folder, json!({ "file": file })).map(drop);
    let text = error.unwrap_err().to_string();
    assert!(!text.contains('\n'), "more than one line: {text}");
    assert!(!text.contains("password"), "{text}");
    text.replace(&folder.0.display().to_string(), "DIR")
}

#[test]
fn the_plugin_gets_the_text_in_place_of_the_path() {
    let folder = Folder::new();
    let absolute = folder.file("users.txt", SECRET.as_bytes());
    for path in ["users.txt", "./users.txt", absolute.to_str().unwrap()] {
        let plugin = load_from(&folder, json!({ "mode": "file", "file": path })).unwrap();
        assert_eq!(plugin.info().config_files, ["file", "file"]);
        let worker = WorkerPlugin::new(plugin);
        let steps = open(&worker, 1).on_data(Side::Client, b"x").unwrap();
        let text = SECRET.as_bytes().to_vec();
        assert_eq!(steps, [Step::Send((Side::Client, text))]);
    }
}

#[test]
fn a_key_that_is_not_there_names_no_file_and_an_empty_file_is_one() {
    let folder = Folder::new();
    folder.file("empty", b"");
    for deed in [
        json!({ "mode": "file" }),
        json!({ "mode": "file", "file": "empty" }),
    ] {
        let worker = WorkerPlugin::new(load_from(&folder, deed).unwrap());
        let steps = open(&worker, 1).on_data(Side::Client, b"x").unwrap();
        assert_eq!(steps, [Step::Send((Side::Client, Vec::new()))]);
    }
}

#[test]
fn what_cannot_be_read_is_told_with_plugin_key_path_and_what_to_do() {
    let folder = Folder::new();
    folder.file("latin", b"a password: \xe4\n");
    folder.file("large", &vec![b'x'; (1 << 20) + 1]);
    folder.file("just", &vec![b'x'; 1 << 20]);
    let mend = "; give the path of a text file in UTF-8, of at most 1MiB";
    for (path, shown, why) in [
        ("none", "DIR/none", "No such file or directory (os error 2)"),
        ("latin", "DIR/latin", "it is not UTF-8"),
        ("large", "DIR/large", "it is larger than 1MiB"),
        ("/dev", "/dev", "it is a directory, not a regular file"),
    ] {
        assert_eq!(
            complaint(&folder, &json!(path)),
            format!("plugin hostile: config: \"file\": cannot read {shown}: {why}{mend}")
        );
    }
    load_from(&folder, json!({ "file": "just" })).unwrap();
}

#[test]
fn what_is_no_path_is_told_and_not_shown() {
    let folder = Folder::new();
    let mend = "; give the path of a text file, relative to the folder of the config file";
    for (value, kind) in [
        (json!(7), "a number"),
        (json!(true), "a boolean"),
        (json!(["password"]), "a list"),
        (json!({ "password": 1 }), "a table"),
        (json!(""), "empty"),
        (json!("user\npassword"), "a text that is no path"),
        (json!("password".repeat(1000)), "a text that is no path"),
    ] {
        assert_eq!(
            complaint(&folder, &value),
            format!("plugin hostile: config: \"file\": is {kind}{mend}")
        );
    }
}

#[test]
fn a_refusal_that_quotes_a_file_is_not_shown() {
    let folder = Folder::new();
    folder.file("users.txt", SECRET.as_bytes());
    folder.file("short", b"refuse\n");
    for mode in ["quote", "quote-escaped"] {
        let error = load_from(&folder, json!({ "mode": mode, "file": "users.txt" }));
        let text = error.map(drop).unwrap_err().to_string();
        assert_eq!(
            text,
            "plugin hostile: config refused: what it says quotes the text of the file under \"file\", and so is not shown; mend that file, or tell the plugin's author"
        );
    }
    let error = load_from(&folder, json!({ "mode": "refuse", "file": "short" }));
    assert_eq!(
        error.map(drop).unwrap_err().to_string(),
        "plugin hostile: config refused: mode: may be anything but refuse"
    );
}
