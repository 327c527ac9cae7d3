//! The catalogue of attacks: 22 ways in, and the test that shows that each is closed. A module stands for some of them; its
//! tests bear the number in their names, and so do tests of other modules that stand for one of them alone. What was shown
//! elsewhere already is named, not written twice (`x::y` is `api/tests/it/x.rs` or a folder of that name, the others say where
//! they are).
//!
//! | # | Attack | Shown by |
//! |---|---|---|
//! | A1 | SSRF | `outbound::a01_an_account_names_no_address_of_the_inside`, `outbound::a01_a_provider_leads_the_service_nowhere`; `http_tests` of the providers in the engine. Media and links of templates are fetched by the provider or the reader, never by this program; it calls nobody else (no webhooks out, no OIDC) |
//! | A2 | template injection, template DoS | `outbound::a02_a_template_neither_runs_on_nor_runs_its_values`; `templates::a_preview_is_what_a_recipient_reads`; `rendering`, `properties` of the templates |
//! | A3 | header injection | `outbound::a03_nothing_that_people_write_becomes_a_header`; `a_subject_stays_one_line` of the templates; `attachment` in `api/src/http`. No mail is written by this program: a provider is sent JSON |
//! | A4 | formulas out, tables in | `inbound::a04_a_table_that_is_none_is_refused`, `inbound::a04_a_formula_that_came_in_goes_out_as_text`; `uploads::what_was_not_taken_can_be_corrected`; `contacts/parse/tests.rs` of the engine |
//! | A5 | workbook bombs | `inbound::a05_a_workbook_does_not_go_off`, `inbound::a05_a_process_that_reads_bombs_stays_small`; `workbooks` of the engine, which has every kind of them |
//! | A6 | webhook forgery | `inbound::a06_a_webhook_that_nobody_signed_is_refused`; `hook_auth` of the engine (networks of a provider, comparison in constant time) |
//! | A7 | webhook replay | `inbound::a07_a_webhook_that_comes_again_changes_nothing`; `feedback` of the engine |
//! | A8 | tenants | `contract::a08_nobody_sees_or_touches_what_is_another_tenants` (every route), `identity::a08_row_level_security_stands_behind_the_queries`; `tenants::a08_what_is_another_tenants_is_named_in_vain`, `tenants::a08_keys_cursors_and_tags_are_each_tenants_own`, `tenants::a08_a_token_says_what_was_signed` |
//! | A9 | mass assignment | `bodies::a09_what_nobody_may_set_is_refused_by_name` (every object of every body) |
//! | A10 | functions | `contract::a10_every_operation_needs_the_permission_that_it_names`, `identity::a10_nobody_makes_themselves_more`; `tenants::a10_every_role_does_what_it_may_and_no_more`, `tenants::a10_whoever_sees_a_branch_gives_nobody_a_wider_view`, `tenants::a10_whoever_tries_things_out_makes_no_key_for_the_real_thing`; `sight` |
//! | A11 | around rate limits | `abuse::a11_a_limit_is_of_the_peer_whatever_it_says`, `abuse::a11_a_limit_is_of_the_tenant_with_all_its_keys`, `abuse::a11_one_request_asks_for_so_much_and_no_more`, `abuse::a11_what_one_request_asks_for_is_counted_one_by_one`; `http/limits.rs` |
//! | A12 | sensitive flows | `abuse::a12_strangers_have_nobody_written_to`, `identity::a12_strangers_register_only_where_they_are_let`; `abuse::a12_codes_to_costly_numbers_are_capped`, `abuse::a12_what_a_day_of_codes_costs_is_bounded` |
//! | A13 | open redirect | `public::visits::a13_clicks_lead_where_the_letter_said_and_people_are_counted`, `public::visits::a13_values_lead_to_the_web_only`, `public::visits::an_sms_has_short_links_where_its_author_asked`; `links_lead_to_the_web_only` of the engine. Where a link leads stands in the rows, and nothing of a request is led to |
//! | A14 | unsubscribe tokens | `links::a14_an_unsubscribe_token_is_neither_forged_nor_guessed`, `links::a14_a_million_guesses_find_no_token`; `public::one_click_stops_the_next_message_and_a_look_stops_nothing`, `public::a_link_that_is_none_gets_one_answer`, `public::visitors_are_limited_by_themselves`; properties in `domain/token.rs` of the engine. What is unsubscribed at the provider is told by webhook (A6) |
//! | A15 | stored XSS | `links::a15_what_people_wrote_is_text_on_every_page`, `public::pages_are_safe_and_speak_the_persons_language`, `mails::the_page_behind_a_link_runs_its_own_script_only`; `wire::a15_no_answer_is_a_page`, `wire::a15_pages_of_others_do_not_call`; `values_are_data_and_never_templates_or_markup` of the templates. Previews are data, in no page of ours |
//! | A16 | answers of providers | `outbound::a16_what_a_provider_answers_breaks_nothing`; properties of the hooks and of `classify` in the engine |
//! | A17 | smuggling, floods | `wire::a17_where_a_request_ends_is_not_argued_about`, `wire::a17_a_flood_ends_its_connection_only`, `wire::a17_whoever_says_nothing_is_let_go_of`, `wire::a17_a_body_that_stops_is_let_go_of`, `wire::a17_strangers_send_little`, `wire::a17_slow_bodies_do_not_fill_the_disk` |
//! | A18 | races | `races`, a hundred at once |
//! | A19 | SQL | `bodies::a19_texts_in_bodies_are_texts`, `bodies::a19_texts_in_queries_and_paths_are_texts` (every field and parameter of the document). Statements are checked at compile time and hold no text of a request |
//! | A20 | secrets and people in outputs | `leaks::a20_canaries_are_found_nowhere`; `configuration::no_secret_is_printed`, `accounts::secrets_are_sealed_shown_to_nobody_and_rotated` |
//! | A21 | forgotten endpoints | `wire::a21_nothing_is_served_that_is_not_described`; `router.rs` makes routes and document together |
//! | A22 | a database that lies | not of this surface: it is the driver's to mind, whose version `deny.toml` watches. `accounts::a_sealed_secret_is_good_for_its_own_account_only` and `identity::the_audit_log_shows_who_did_what_and_whether_it_was_changed` show what is found of rows that were changed |

mod abuse;
mod bodies;
mod inbound;
mod leaks;
mod links;
mod outbound;
mod races;
mod sight;
mod tenants;
mod wire;
