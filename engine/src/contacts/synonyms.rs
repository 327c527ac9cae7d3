//! What back offices call their columns, in English, French and Hindi.

use std::{collections::HashMap, sync::LazyLock};

/// What a column is, as far as its header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    Email,
    Phone,
    Name,
    FirstName,
    LastName,
    Language,
    TimeZone,
    Reference,
    Currency,
    Date,
    Amount,
}

/// Of two columns that could be one field, the one whose header stands earlier in its list is it.
const SYNONYMS: &[(Meaning, &[&str])] = &[
    (
        Meaning::Email,
        &[
            "email",
            "e-mail",
            "email address",
            "e-mail address",
            "mail",
            "email id",
            "e-mail id",
            "contact email",
            "customer email",
            "client email",
            "courriel",
            "adresse e-mail",
            "adresse email",
            "adresse mail",
            "adresse electronique",
            "mel",
            "ईमेल",
            "ई-मेल",
            "ईमेल पता",
        ],
    ),
    (
        Meaning::Phone,
        &[
            "mobile",
            "mobile no",
            "mobile number",
            "mobile phone",
            "cell",
            "cell phone",
            "cellphone",
            "gsm",
            "portable",
            "telephone portable",
            "tel portable",
            "numero de portable",
            "whatsapp",
            "whatsapp number",
            "whatsapp no",
            "मोबाइल",
            "मोबाइल नंबर",
            "phone",
            "phone no",
            "phone number",
            "contact no",
            "contact number",
            "contact phone",
            "customer phone",
            "tel",
            "tel no",
            "telephone",
            "telephone no",
            "telephone number",
            "no de telephone",
            "no telephone",
            "numero de telephone",
            "numero telephone",
            "फोन",
            "फ़ोन",
            "फोन नंबर",
            "दूरभाष",
        ],
    ),
    (
        Meaning::Name,
        &[
            "name",
            "full name",
            "customer name",
            "client name",
            "customer",
            "client",
            "policyholder",
            "policyholder name",
            "policy holder",
            "policy holder name",
            "insured",
            "insured name",
            "name of insured",
            "owner",
            "owner name",
            "contact name",
            "debtor",
            "nom complet",
            "nom du client",
            "nom client",
            "nom de l'assure",
            "assure",
            "nom et prenom",
            "nom prenom",
            "नाम",
            "ग्राहक",
            "ग्राहक का नाम",
            "पूरा नाम",
            "मालिक",
            "मालिक का नाम",
        ],
    ),
    (
        Meaning::FirstName,
        &["first name", "firstname", "given name", "forename", "prenom", "prenoms", "पहला नाम"],
    ),
    (
        Meaning::LastName,
        &["last name", "lastname", "surname", "family name", "nom de famille", "nom", "उपनाम", "कुलनाम"],
    ),
    (
        Meaning::Language,
        &["language", "preferred language", "lang", "locale", "langue", "langue preferee", "भाषा"],
    ),
    (Meaning::TimeZone, &["time zone", "timezone", "tz", "fuseau horaire", "fuseau", "समय क्षेत्र"]),
    (
        Meaning::Reference,
        &[
            "policy no",
            "policy number",
            "policy",
            "policy ref",
            "policy id",
            "invoice no",
            "invoice number",
            "invoice",
            "reference",
            "ref",
            "reference no",
            "reference number",
            "contract no",
            "contract number",
            "contract",
            "account no",
            "account number",
            "loan no",
            "no police",
            "numero de police",
            "no de police",
            "police",
            "no contrat",
            "no de contrat",
            "numero de contrat",
            "contrat",
            "no facture",
            "no de facture",
            "numero de facture",
            "facture",
            "पॉलिसी",
            "पॉलिसी नंबर",
            "पॉलिसी संख्या",
            "चालान",
            "चालान संख्या",
            "संदर्भ",
        ],
    ),
    (Meaning::Currency, &["currency", "currency code", "ccy", "devise", "monnaie", "मुद्रा"]),
    (
        Meaning::Date,
        &[
            "expiry date",
            "expiry",
            "expiration date",
            "expiration",
            "expires",
            "expires on",
            "end date",
            "due date",
            "due",
            "due on",
            "renewal date",
            "start date",
            "issue date",
            "invoice date",
            "payment date",
            "date",
            "effective date",
            "date of birth",
            "birth date",
            "dob",
            "echeance",
            "date d'echeance",
            "date echeance",
            "date d'expiration",
            "date expiration",
            "date de fin",
            "date de debut",
            "date de naissance",
            "date de renouvellement",
            "date de facture",
            "तारीख",
            "दिनांक",
            "समाप्ति तिथि",
            "देय तिथि",
            "अंतिम तिथि",
            "नवीनीकरण तिथि",
        ],
    ),
    (
        Meaning::Amount,
        &[
            "premium",
            "premium amount",
            "premium due",
            "total premium",
            "annual premium",
            "renewal premium",
            "amount",
            "amount due",
            "total",
            "total due",
            "total amount",
            "balance",
            "balance due",
            "outstanding",
            "outstanding amount",
            "outstanding balance",
            "arrears",
            "installment",
            "instalment",
            "installment amount",
            "instalment amount",
            "sum insured",
            "amount paid",
            "price",
            "prime",
            "prime totale",
            "prime annuelle",
            "montant",
            "montant du",
            "montant total",
            "total du",
            "solde",
            "solde du",
            "reste a payer",
            "mensualite",
            "capital assure",
            "arrieres",
            "प्रीमियम",
            "राशि",
            "देय राशि",
            "कुल राशि",
            "किस्त",
            "बकाया",
        ],
    ),
];

/// The meaning of a normalised header and its rank among the synonyms of that meaning.
pub(super) fn meaning(normalised: &str) -> Option<(Meaning, usize)> {
    static TABLE: LazyLock<HashMap<String, (Meaning, usize)>> = LazyLock::new(|| {
        let entries = SYNONYMS.iter().flat_map(|(meaning, words)| {
            words.iter().enumerate().map(|(rank, word)| (normalise(word), (*meaning, rank)))
        });
        entries.collect()
    });
    TABLE.get(normalised).copied()
}

/// A header as it is compared: letters without accents, one case, words apart by one space, `N°` as `no`.
pub(super) fn normalise(header: &str) -> String {
    let header = header.replace(['°', 'º'], "o ").replace('№', "no ");
    let plain = deunicode::deunicode(&header).to_lowercase();
    plain
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A name that a template can use: `montant_du` of `Montant dû (Rs)`. Empty if nothing of the text can be in one.
pub(super) fn slug(text: &str) -> String {
    let words = normalise(text).replace(' ', "_");
    // Templates read a name that begins with a digit as a number.
    if words.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("n_{words}");
    }
    let reserved = ["this", "else", "true", "false", "null", "undefined", "as"];
    if reserved.contains(&words.as_str()) { format!("{words}_") } else { words }
}
