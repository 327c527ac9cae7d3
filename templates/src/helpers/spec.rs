//! Every helper that a template may call, and how it is called: the one list behind the checks at publish.

use handlebars::template::Parameter;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `{{upper name}}`, and between parentheses
    Inline,
    /// `{{#if paid}}…{{/if}}`
    Block,
}

#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    form: Form,
    /// Fewest and most values.
    values: (usize, usize),
    /// Values that may be missing: the first so many.
    asked: usize,
    /// Options written `name=value`.
    options: &'static [&'static str],
    /// What a literal second value may be; empty: anything.
    words: &'static [&'static str],
    example: &'static str,
}

const fn inline(name: &'static str, values: (usize, usize), asked: usize, example: &'static str) -> Spec {
    Spec { name, form: Form::Inline, values, asked, options: &[], words: &[], example }
}

const fn block(name: &'static str, options: &'static [&'static str], example: &'static str) -> Spec {
    Spec { name, form: Form::Block, values: (1, 1), asked: 0, options, words: &[], example }
}

const SPECS: &[Spec] = &[
    block("if", &["includeZero"], "{{#if paid}}…{{else}}…{{/if}}"),
    block("unless", &["includeZero"], "{{#unless paid}}…{{/unless}}"),
    block("each", &[], "{{#each items}}…{{/each}}"),
    block("with", &[], "{{#with policy}}…{{/with}}"),
    inline("eq", (2, 2), 0, "{{#if (eq status \"paid\")}}"),
    inline("ne", (2, 2), 0, "{{#if (ne status \"paid\")}}"),
    inline("lt", (2, 2), 0, "{{#if (lt count 3)}}"),
    inline("lte", (2, 2), 0, "{{#if (lte count 3)}}"),
    inline("gt", (2, 2), 0, "{{#if (gt count 3)}}"),
    inline("gte", (2, 2), 0, "{{#if (gte count 3)}}"),
    inline("and", (2, 8), 8, "{{#if (and paid signed)}}"),
    inline("or", (2, 8), 8, "{{#if (or paid waived)}}"),
    inline("not", (1, 1), 1, "{{#if (not paid)}}"),
    Spec { words: super::date::STYLES, ..inline("date", (1, 2), 0, "{{date due_date \"long\"}}") },
    inline("money", (1, 1), 0, "{{money amount}}"),
    inline("number", (1, 1), 0, "{{number count}}"),
    Spec {
        options: &["zero", "one", "two", "few", "many", "other"],
        ..inline("plural", (1, 1), 0, "{{plural count one=\"day\" other=\"days\"}}")
    },
    inline("default", (2, 2), 1, "{{default first_name \"customer\"}}"),
    inline("upper", (1, 1), 0, "{{upper code}}"),
    inline("lower", (1, 1), 0, "{{lower code}}"),
    inline("short_link", (1, 1), 0, "{{short_link payment_url}}"),
    inline("url_encode", (1, 1), 0, "{{url_encode policy_number}}"),
];

/// The helper called `name`, if it has that form; otherwise what to write instead.
pub(crate) fn find(name: &str, form: Form) -> Result<&'static Spec, String> {
    match SPECS.iter().find(|spec| spec.name == name) {
        Some(spec) if spec.form == form => Ok(spec),
        Some(spec) => Err(format!("`{name}` is written like this: {}", spec.example)),
        None => {
            let known: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
            Err(format!("there is no helper `{name}`: the helpers are {}", known.join(", ")))
        }
    }
}

impl Spec {
    /// Whether the value at `index` may be missing.
    pub(crate) fn asks(&self, index: usize) -> bool {
        index < self.asked
    }

    pub(crate) fn check(&self, params: &[Parameter], options: &[(&str, &Parameter)]) -> Result<(), String> {
        let usage = |fault: String| format!("{fault}: write {}", self.example);
        let (fewest, most) = self.values;
        if !(fewest..=most).contains(&params.len()) {
            return Err(usage(format!("`{}` cannot take {} values", self.name, params.len())));
        }
        if let Some((option, _)) = options.iter().find(|(option, _)| !self.options.contains(option)) {
            return Err(usage(format!("`{}` has no option `{option}`", self.name)));
        }
        if self.name == "plural" && !options.iter().any(|(option, _)| *option == "other") {
            return Err(usage("`plural` needs the option `other`".to_owned()));
        }
        if let (false, Some(Parameter::Literal(word))) = (self.words.is_empty(), params.get(1))
            && !word.as_str().is_some_and(|word| self.words.contains(&word))
        {
            return Err(format!("`{}` knows the styles {}", self.name, self.words.join(", ")));
        }
        Ok(())
    }
}
