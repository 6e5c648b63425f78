//! The OpenAPI description of the HTTP door, made of the types it reads and writes.

#![allow(dead_code)] // The functions below only carry descriptions; `http.rs` answers.

mod case;
mod loans;
mod one_time_password;

use std::sync::LazyLock;

use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use super::answer::{Answer, Explained};
use super::aos::{AosAnswer, AosCall};
use super::asked::{AskedCall, CALLS};
use super::behaviour::{BehaviourAnswer, BehaviourQuestion, RecordsTaken};
use super::problem::ProblemBody;
use super::ready::Readiness;
use crate::scorecard::Score;

/// The description as JSON; the same as `schema/openapi.json`.
pub fn openapi() -> &'static str {
    static JSON: LazyLock<String> =
        LazyLock::new(|| Description::openapi().to_pretty_json().expect("plain values") + "\n");
    &JSON
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Qalqan",
        description = "Telephone calls judged: allow, mark, withhold or block, and why. An answer other than 200 is no \
                       verdict: let the call go on.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        screen, explain, save_request, check_request, locations, roaming_status, behaviour, call_records, scorecard, healthz, readyz, metrics, description,
        loans::open_loan, loans::see_loan, loans::send_code, loans::confirm_loan, loans::consent_loan, loans::cancel_loan, loans::make_link, loans::keep_reference, loans::drop_reference,
        loans::loan_document, loans::loan_keys, loans::set_ban, loans::lift_ban, loans::see_ban, loans::scam_signal,
        loans::phone_changed, loans::access_token,
        case::import_facts, case::search_facts, case::see_fact, case::see_links, case::change_state, case::recover_sum, case::assign_fact, case::cut_link,
        case::see_groups, case::confirm_group, case::join_group, case::keep_person, case::search_persons, case::see_person, case::add_identifiers,
        case::keep_seizure, case::see_seizure, case::hand_over, case::make_request, case::see_requests, case::see_request, case::answer_request,
        case::report, case::see_reports, case::see_report, case::check_report, case::pass_on_report, case::confirm_identifier,
        case::undo_cut, case::see_group, case::leave_group, case::decline_group, case::import_centres, case::see_centres, case::see_centre, case::judge_centre, case::confirm_centre,
        case::retract_identifier, case::see_confirmed, case::see_looks, case::see_statistics,
        one_time_password::send_one_time_password, one_time_password::validate_one_time_password
    ),
    components(schemas(Question, Verdicts, Explanations, AosCall, AosAnswer, LocationUpdate, Located, Score, ProblemBody, Readiness)),
    modifiers(&Keys)
)]
struct Description;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        // Client credentials at /oauth2/token; said as a bearer token, for OpenAPI wants an absolute URL there.
        components
            .add_security_scheme("loan_client", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let header = ApiKey::Header(ApiKeyValue::new("X-Api-Key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
    }
}

/// One thing, or an array of up to 1,000.
fn one_or_many(name: &str) -> RefOr<Schema> {
    let one = || Ref::from_schema_name(name);
    let many = ArrayBuilder::new().items(one()).min_items(Some(1)).max_items(Some(CALLS));
    OneOfBuilder::new().item(one()).item(many).into()
}

type Named = Vec<(String, RefOr<Schema>)>;

macro_rules! one_or_many {
    ($($name:ident of $item:ty;)*) => {$(
        struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                one_or_many(&<$item as ToSchema>::name())
            }
        }

        impl ToSchema for $name {
            fn schemas(schemas: &mut Named) {
                schemas.push((<$item as ToSchema>::name().into_owned(), <$item>::schema()));
                <$item as ToSchema>::schemas(schemas);
            }
        }
    )*};
}

one_or_many! {
    Question of AskedCall<'_>;
    Verdicts of Answer;
    Explanations of Explained;
}

/// Judge one call or up to 1,000
///
/// Verdicts come in the order of the calls, are kept in the journal and counted, as those of calls by SIP are.
/// An emergency call passes whatever else is wrong with the question.
#[utoipa::path(
    post,
    path = "/v1/screen",
    request_body(content = Question, content_type = "application/json"),
    params(("Accept-Language" = Option<String>, Header, description = "Language of `reason`: kk, ru or en")),
    responses(
        (status = 200, description = "A verdict, or an array of verdicts", body = Verdicts, content_type = "application/json",
         headers(("Content-Language" = String, description = "kk, ru or en"))),
        (status = 400, description = "No JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "No such trunk for this asker", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "JSON, but no call or calls", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many connections", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn screen() {}

/// Judge, and say every fact the verdict stood on
#[utoipa::path(
    post,
    path = "/v1/screen/explain",
    request_body(content = Question, content_type = "application/json"),
    params(("Accept-Language" = Option<String>, Header, description = "Language of `reason` and `facts`: kk, ru or en")),
    responses(
        (status = 200, description = "A verdict with its facts, or an array", body = Explanations, content_type = "application/json",
         headers(("Content-Language" = String, description = "kk, ru or en"))),
        (status = 400, description = "No JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "No such trunk for this asker", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "JSON, but no call or calls", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many connections", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn explain() {}

/// Note a call that a customer of a small operator makes
#[utoipa::path(
    post,
    path = "/aos/saveRequest",
    request_body(content = AosCall, content_type = "application/json"),
    params(("answer" = Option<String>, Query, description = "`string`: the result as a text")),
    responses(
        (status = 200, description = "Whether it is noted: another operator's number is not", body = AosAnswer, content_type = "application/json"),
        (status = 400, description = "No JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "This node is in no exchange", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "JSON, but no call", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many connections", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn save_request() {}

/// Ask whether a call was made by the operator of its calling or redirecting number
///
/// False only where that operator says that it did not make it: what is not known passes.
#[utoipa::path(
    post,
    path = "/aos/checkRequest",
    request_body(content = AosCall, content_type = "application/json"),
    params(("answer" = Option<String>, Query, description = "`string`: the result as a text")),
    responses(
        (status = 200, description = "Whether it may pass", body = AosAnswer, content_type = "application/json"),
        (status = 400, description = "No JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "This node is in no exchange", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "JSON, but no call", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too many connections", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn check_request() {}

/// Where own subscribers went: up to 1,000 location updates
///
/// An update that is older than the one known of a number is passed over.
#[utoipa::path(
    post,
    path = "/v1/locations",
    request_body(content = Vec<LocationUpdate>, content_type = "application/json"),
    responses(
        (status = 200, description = "How many came, and how many are news", body = Located, content_type = "application/json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "This node takes no feed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "An update is at fault: which, and how", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too much waits: send it again", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn locations() {}

/// Where a subscriber went
#[derive(ToSchema)]
struct LocationUpdate {
    /// In E.164, with +.
    #[schema(example = "+77011234567")]
    number: String,
    /// Whether he is abroad.
    roaming: bool,
    /// Country visited, ISO 3166-1 alpha-2.
    #[schema(example = "TR")]
    visited: Option<String>,
    #[schema(format = DateTime)]
    time: String,
}

/// What came of updates
#[derive(ToSchema)]
struct Located {
    updates: usize,
    kept: usize,
}

/// Whether an own subscriber roams: CAMARA Device Roaming Status 1.1
///
/// Bodies and errors are those of that API.
#[utoipa::path(
    post,
    path = "/device-roaming-status/v1/retrieve",
    request_body(content = Object, content_type = "application/json"),
    params(("x-correlator" = Option<String>, Header, description = "Sent back")),
    responses(
        (status = 200, description = "Whether he roams, and where", body = Object, content_type = "application/json"),
        (status = 400, description = "INVALID_ARGUMENT", body = Object, content_type = "application/json"),
        (status = 401, description = "UNAUTHENTICATED", body = Object, content_type = "application/json"),
        (status = 404, description = "IDENTIFIER_NOT_FOUND", body = Object, content_type = "application/json"),
        (status = 422, description = "MISSING_IDENTIFIER, UNSUPPORTED_IDENTIFIER", body = Object, content_type = "application/json"),
        (status = 503, description = "UNAVAILABLE: it is not known", body = Object, content_type = "application/json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn roaming_status() {}

/// What is thought of a number that calls, and by which signals
///
/// Each look is written down beside the journal.
#[utoipa::path(
    post,
    path = "/v1/behaviour",
    request_body(content = BehaviourQuestion, content_type = "application/json"),
    responses(
        (status = 200, description = "Its score by each trunk, with figures and thresholds", body = BehaviourAnswer, content_type = "application/json"),
        (status = 400, description = "No JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "This node watches no numbers", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "JSON, but no number", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The look cannot be written down, or the node is stopping", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn behaviour() {}

/// How calls went, by the switch's records of them
///
/// CSV whose first line names the columns: `calling`, `called` and `start`, and of `duration`, `answered`, `cause`, `trunk`, `imei`,
/// `imsi` and `cell` what there is. What records tell of a number that is watched is kept in memory for 24 hours, of telephones for
/// seven days. A record that comes twice counts once.
#[utoipa::path(
    post,
    path = "/v1/call-records",
    request_body(content = String, content_type = "text/csv"),
    params(("trunk" = Option<String>, Query, description = "Of records that name none")),
    responses(
        (status = 202, description = "How many are looked at, and how many were left out and why", body = RecordsTaken, content_type = "application/json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "This node watches no numbers, or ?trunk= is not known", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not said to be CSV", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A column is missing, or a line has too few or too many fields; nothing was taken", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Records of before wait: send these again in a second", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The node is stopping", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn call_records() {}

/// What each trunk handed over by day, and what the share of spoofed calls suggests
#[utoipa::path(
    get,
    path = "/v1/scorecard",
    responses(
        (status = 200, description = "A row for each trunk and day", body = Vec<Score>, content_type = "application/json"),
        (status = 401, description = "No key, a wrong or an expired one", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer")))
    ),
    security(("bearer" = []), ("api_key" = []))
)]
fn scorecard() {}

/// The process is alive
#[utoipa::path(get, path = "/healthz", responses(
    (status = 200, description = "Alive", body = String, content_type = "text/plain")
))]
fn healthz() {}

/// Calls can be asked about
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "A configuration is in force", body = Readiness, content_type = "application/json"),
    (status = 503, description = "The node is stopping", body = ProblemBody, content_type = "application/problem+json")
))]
fn readyz() {}

/// Counters for Prometheus
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain")
))]
fn metrics() {}

/// This description
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")
))]
fn description() {}
