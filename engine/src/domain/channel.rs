//! Channels, message classes, and the lanes that they make.

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sqlx::Type)]
        #[serde(rename_all = "snake_case")]
        #[sqlx(type_name = "text", rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that tables, logs, metrics and URLs use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
                    format!("`{text}` is none of: {}", known.join(", "))
                })
            }
        }
    };
}
pub(crate) use text_enum;

text_enum! {
    /// How a message travels.
    Channel {
        Email => "email",
        Sms => "sms",
        Whatsapp => "whatsapp",
        /// A notification in the application itself: the address is the contact's id.
        InApp => "in_app",
    }
}

text_enum! {
    /// Why a message is sent: decides consent, quiet hours, retries and its lane.
    MessageClass {
        /// One person waits for it: an OTP, a receipt.
        Transactional => "transactional",
        /// Bills, legal and contract notices.
        Obligation => "obligation",
        Marketing => "marketing",
    }
}

text_enum! {
    /// Whose API an account speaks.
    Provider {
        BrevoEmail => "brevo_email",
        BrevoSms => "brevo_sms",
        WhatsappCloud => "whatsapp_cloud",
        /// None: whatever goes over it is put into the database.
        InApp => "in_app",
    }
}

impl Provider {
    pub const fn channel(self) -> Channel {
        match self {
            Self::BrevoEmail => Channel::Email,
            Self::BrevoSms => Channel::Sms,
            Self::WhatsappCloud => Channel::Whatsapp,
            Self::InApp => Channel::InApp,
        }
    }
}

/// The queue that a chunk waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub channel: Channel,
    pub class: MessageClass,
}

impl Lane {
    pub fn all() -> impl Iterator<Item = Self> {
        // The urgent first: whoever walks the lanes serves them in this order.
        MessageClass::ALL
            .iter()
            .flat_map(|&class| Channel::ALL.iter().map(move |&channel| Self { channel, class }))
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.channel, self.class)
    }
}
