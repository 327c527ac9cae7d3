//! Precedence, errors and the default file.

use std::path::PathBuf;

use fanfare_engine::config::{Loaded, Sources, default_file, load, shown};

use crate::support::House;

fn read(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let house = House::empty();
    let file = file.map(|text| PathBuf::from(house.file("test.toml", text)));
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let folder = house.folder.path().to_owned();
    let hidden = folder.to_str().unwrap().to_owned();
    load(&Sources { file, variables, folder }).map_err(|error| error.to_string().replace(&hidden, "."))
}

fn wrong(file: &str, variables: &[(&str, &str)]) -> String {
    read(Some(file), variables).expect_err(file)
}

#[test]
fn the_committed_default_file_is_that_of_the_code() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config.defaults.toml");
    let committed = std::fs::read_to_string(committed).unwrap();
    assert_eq!(
        committed.trim_end(),
        default_file().trim_end(),
        "renew it: fanfare config --defaults > deploy/config.defaults.toml"
    );
}

#[test]
fn the_default_file_changes_nothing() {
    let (by_file, by_itself) = (read(Some(&default_file()), &[]).unwrap(), read(None, &[]).unwrap());
    let values =
        |loaded: &Loaded| shown(loaded).into_iter().map(|key| (key.key, key.value)).collect::<Vec<_>>();
    assert_eq!(values(&by_file), values(&by_itself));
}

#[test]
fn a_token_is_good_for_no_longer_than_a_day() {
    let error = wrong("", &[("FANFARE__AUTH__ACCESS_MINUTES", "1441")]);
    assert!(error.contains("auth.access_minutes") && error.contains("between 1 and 1440"), "{error}");
}

#[test]
fn the_last_source_wins() {
    let file = "[worker]\nchunks = 5\n[api]\nport = 81";
    let check = |file: Option<&str>, variables: &[(&str, &str)], expected: (usize, u16, &str)| {
        let loaded = read(file, variables).unwrap();
        let origin = loaded.tree.origin("api.port").to_string();
        let at = origin.rsplit('/').next().unwrap().to_owned();
        assert_eq!((loaded.config.worker.chunks, loaded.config.api.port, at.as_str()), expected);
    };
    check(None, &[], (8, 8080, "default"));
    check(Some(file), &[], (5, 81, "test.toml:4"));
    check(Some(file), &[("PORT", "82")], (5, 82, "$PORT"));
    check(Some(file), &[("PORT", "")], (5, 81, "test.toml:4"));
    check(
        Some(file),
        &[("PORT", "82"), ("FANFARE__API__PORT", "83"), ("FANFARE__WORKER__CHUNKS", "6")],
        (6, 83, "$FANFARE__API__PORT"),
    );
}

#[test]
fn well_known_variables_make_accounts() {
    let variables = [
        ("BREVO_API_KEY", "xkeysib-1"),
        ("BREVO_SENDER_EMAIL", "bills@acme.example"),
        ("BREVO_SENDER_NAME", "Acme Insurance Ltd"),
        ("WHATSAPP_ACCESS_TOKEN", "token"),
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"),
        ("WHATSAPP_APP_SECRET", "secret"),
        ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "verify"),
        ("FANFARE__ACCOUNTS__BREVO_EMAIL__WEBHOOK_AUTH__BEARER__TOKEN", "hook"),
        ("FANFARE__ACCOUNTS__BREVO_EMAIL__PRIORITY", "3"),
    ];
    let loaded = read(None, &variables).unwrap();
    let slugs: Vec<_> =
        loaded.config.accounts.iter().map(|account| (account.slug.as_str(), account.priority)).collect();
    assert_eq!(slugs, [("brevo-email", 3), ("brevo-sms", 0), ("whatsapp", 0)]);
    insta::assert_snapshot!(
        shown(&loaded)
            .iter()
            .filter(|key| key.key.starts_with("accounts"))
            .map(|key| format!("{} = {}  ({})", key.key, key.value, key.origin))
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn an_error_names_the_key_its_place_and_what_to_do() {
    let account = "[[accounts]]\nslug = 'mail'\nprovider = 'brevo_email'\napi_key = 'k'\nsender_email = 'a@b.example'\n";
    let tenant = "[[tenants]]\nslug = 'acme'\nname = 'Acme'\nregion = 'MU'\nlocale = 'en'\ntime_zone = 'Mauritius/Port_Louis'\ncurrency = 'MUR'\n";
    let all = [
        wrong("[worker]\nchunk = 5", &[]),
        wrong("[wroker]\nchunks = 5", &[]),
        wrong("[kitchen]\nsink = 5", &[]),
        wrong("worker = 3", &[]),
        wrong("[worker]\nchunks = 'many'", &[]),
        wrong("[worker]\nchunks = -1", &[]),
        wrong("[worker\nchunks = 1", &[]),
        wrong("", &[("FANFARE__WORKER__CHUNK", "1")]),
        wrong("", &[("FANFARE__WORKER__CHUNKS", "many")]),
        wrong("", &[("FANFARE__ACCOUNTS__MAIL__API_KEY", "k")]),
        wrong("", &[("PORT", "99999")]),
        wrong("[log]\nformat = 'fancy'", &[]),
        wrong("[http]\ntimeout_ms = 20000", &[]),
        wrong("[worker]\nchunks = 100", &[]),
        wrong("[recorder]\nbuffer = 10\n[unknown]\nlook_up_s = 3600", &[]),
        wrong(account, &[]),
        wrong(&format!("{account}sender_nam = 'x'"), &[]),
        wrong(
            &format!("{account}sender_name = 'x'\nlimits = [{{ window = 'fortnight', requests = 1 }}]"),
            &[],
        ),
        wrong("[[accounts]]\nslug = 'mail'\nprovider = 'carrier_pigeon'", &[]),
        wrong("[[accounts]]\nprovider = 'brevo_sms'", &[]),
        wrong(tenant, &[]),
    ];
    insta::assert_snapshot!(all.join("\n--\n"));
}

#[test]
fn a_named_file_must_exist() {
    let named = Sources { file: Some("nowhere.toml".into()), ..Sources::default() };
    let error = load(&named).expect_err("there is none").to_string();
    assert_eq!(
        error,
        "the configuration cannot be used: nowhere.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn no_secret_is_printed() {
    let url = ("DATABASE_URL", "postgres://bob:hunter2@db.example/fanfare?password=hunter2");
    let variables = [
        url,
        ("REDIS_URL", "redis://:hunter2@a,redis://:hunter2@b"),
        ("BREVO_API_KEY", "hunter2"),
        ("BREVO_SENDER_EMAIL", "a@b.example"),
        ("BREVO_SENDER_NAME", "A"),
    ];
    let loaded = read(None, &variables).unwrap();
    let printed = format!("{:?} {:?}", shown(&loaded), loaded.config);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("postgres://bob:***@db.example/fanfare"), "{printed}");
}
