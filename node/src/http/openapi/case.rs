//! The register of cases in the description.

use crate::casework::asked::{
    Assignment, CentreJudged, CentreNumbers, FactSearch, GroupConfirmed, GroupDeclined, GroupMembers,
    HandedOver, IdentifierConfirmed, LinkCut, MoreIdentifiers, NewPerson, NewReport, NewRequest, NewSeizure,
    PersonSearch, RecoveredSum, ReportCheck, ReportPassed, RequestAnswer, StateChange, Why,
};
use crate::http::problem::ProblemBody;

/// Routes with their bodies and successes; what goes wrong is the same everywhere.
macro_rules! routes {
    ($($(#[doc = $doc:literal])+ $name:ident: $method:ident $path:literal
       $(, id $id:literal)? $(, body $body:ty, $kind:literal)? $(, query $query:literal $about:literal)*
       $(, key $key:literal)? => $status:literal $said:literal;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            $method,
            path = $path,
            $(request_body(content = $body, content_type = $kind),)?
            params(
                $(("id" = String, Path, description = $id, pattern = "^[0-9]{1,15}$"),)?
                $(($query = Option<String>, Query, description = $about),)*
                $(("Idempotency-Key" = Option<String>, Header, description = $key, pattern = "^\"?[!#-~]{1,128}\"?$"),)?
            ),
            responses(
                (status = $status, description = $said, body = Object, content_type = "application/json"),
                (status = 400, description = "No JSON, or an Idempotency-Key that is none", body = ProblemBody, content_type = "application/problem+json"),
                (status = 401, description = "No access token, or one that does not count", body = ProblemBody, content_type = "application/problem+json",
                 headers(("WWW-Authenticate" = String, description = "Bearer"))),
                (status = 403, description = "No register here, or not for this client: recorded", body = ProblemBody, content_type = "application/problem+json"),
                (status = 404, description = "Nothing that this client may know of has this id: recorded", body = ProblemBody, content_type = "application/problem+json"),
                (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
                (status = 409, description = "Not as things stand", body = ProblemBody, content_type = "application/problem+json"),
                (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
                (status = 415, description = "The body is of another type", body = ProblemBody, content_type = "application/problem+json"),
                (status = 422, description = "Not what is asked for; of a file, `faults` has every fault", body = ProblemBody, content_type = "application/problem+json"),
                (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
                (status = 503, description = "The store does not answer, or too much waits", body = ProblemBody, content_type = "application/problem+json")
            ),
            security(("loan_client" = []))
        )]
        pub fn $name() {}
    )*};
}

routes! {
    /// Take a file of facts in, whole or not at all; a fact that is there with the same content stays as it is
    import_facts: post "/v1/case/facts", body String, "text/csv", query "unit" "Of facts that name none; left out by who works in one", key "Sent again within 3 days, it is answered as before" => 201 "How many are new, and how many were there";
    /// Find facts
    search_facts: post "/v1/case/facts/search", body FactSearch, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "Facts without what is personal, and `next`";
    /// See a fact
    see_fact: get "/v1/case/facts/{id}", id "The fact" => 200 "The fact, its identifiers and events";
    /// See what a fact is linked to, and why
    see_links: get "/v1/case/facts/{id}/links", id "The fact" => 200 "Links, the heaviest first";
    /// Change the state of the proceedings
    change_state: post "/v1/case/facts/{id}/state", id "The fact", body StateChange, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The fact";
    /// Say what was recovered
    recover_sum: post "/v1/case/facts/{id}/recovered", id "The fact", body RecoveredSum, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The fact";
    /// Assign a fact to an investigator
    assign_fact: post "/v1/case/facts/{id}/assign", id "The fact", body Assignment, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The fact";
    /// Cut a wrong link: it stays cut
    cut_link: post "/v1/case/cuts", body LinkCut, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The cut";
    /// Undo a cut: it stays in the history
    undo_cut: post "/v1/case/cuts/{id}/undo", id "The cut", body Why, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The cut";
    /// See groups that persons confirmed, and those that links propose
    see_groups: get "/v1/case/groups" => 200 "Both, those with most facts first";
    /// Confirm a group
    confirm_group: post "/v1/case/groups/confirm", body GroupConfirmed, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The group";
    /// Add to a confirmed group
    join_group: post "/v1/case/groups/{id}/members", id "The group", body GroupMembers, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "Who was added";
    /// See a confirmed group and what happened to it
    see_group: get "/v1/case/groups/{id}", id "The group" => 200 "The group, its cases and events";
    /// Take cases out of a confirmed group
    leave_group: post "/v1/case/groups/{id}/remove", id "The group", body GroupMembers, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "Who was taken out";
    /// Decline a proposed group: it is proposed again when links bring more to it
    decline_group: post "/v1/case/groups/decline", body GroupDeclined, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The decision";
    /// Keep a person
    keep_person: post "/v1/case/persons", body NewPerson, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The person";
    /// Find persons
    search_persons: post "/v1/case/persons/search", body PersonSearch, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "Persons";
    /// See a person
    see_person: get "/v1/case/persons/{id}", id "The person" => 200 "The person, identifiers and events";
    /// Say that identifiers are a person's
    add_identifiers: post "/v1/case/persons/{id}/identifiers", id "The person", body MoreIdentifiers, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The person";
    /// Keep a seized thing: its chain of custody begins
    keep_seizure: post "/v1/case/seizures", body NewSeizure, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The thing and its hash";
    /// See a seized thing, who had it when, and whether an entry was changed
    see_seizure: get "/v1/case/seizures/{id}", id "The thing" => 200 "The thing and its chain of custody";
    /// Hand a seized thing over
    hand_over: post "/v1/case/seizures/{id}/custody", id "The thing", body HandedOver, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The thing, with the hash of the entry";
    /// Ask an operator or a bank
    make_request: post "/v1/case/requests", body NewRequest, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The request and when it is due";
    /// See requests: those directed to the client, or of his units
    see_requests: get "/v1/case/requests" => 200 "Requests, the newest first";
    /// See a request
    see_request: get "/v1/case/requests/{id}", id "The request" => 200 "The request and its answer";
    /// Answer a request that is directed to the client
    answer_request: post "/v1/case/requests/{id}/answer", id "The request", body RequestAnswer, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The request";
    /// Report a drop's account, card or phone, or complain about an operator's number
    report: post "/v1/case/reports", body NewReport, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "The report and when it is checked";
    /// See reports: the client's own; the police sees all
    see_reports: get "/v1/case/reports" => 200 "Reports, the newest first";
    /// See a report
    see_report: get "/v1/case/reports/{id}", id "The report" => 200 "The report";
    /// Say what checking a report came to
    check_report: post "/v1/case/reports/{id}/check", id "The report", body ReportCheck, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The report";
    /// Say to whom a confirmed report was passed on
    pass_on_report: post "/v1/case/reports/{id}/pass-on", id "The report", body ReportPassed, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The report";
    /// Take in call centres as a hunt found them, JSON lines, whole or not at all; one that is known grows
    import_centres: post "/v1/case/centres", body String, "application/x-ndjson", query "unit" "Whose the centres are; left out by who works in one", key "Sent again within 3 days, it is answered as before" => 201 "Which are new, which have grown, and how many were there";
    /// See call centres
    see_centres: get "/v1/case/centres", query "state" "`proposed`, `confirmed` or `dismissed` alone" => 200 "Call centres, the newest first";
    /// See a call centre
    see_centre: get "/v1/case/centres/{id}", id "The call centre" => 200 "Its numbers, telephones and trunks, the facts whose victims it called, and events";
    /// Confirm a call centre, or dismiss it
    judge_centre: post "/v1/case/centres/{id}/judge", id "The call centre", body CentreJudged, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "The call centre";
    /// Confirm all numbers of a confirmed call centre as a fraudster's, or take that back
    confirm_centre: post "/v1/case/centres/{id}/numbers", id "The call centre", body CentreNumbers, "application/json", key "Sent again within 3 days, it is answered as before" => 200 "How many numbers that changed";
    /// Confirm an identifier as a fraudster's
    confirm_identifier: post "/v1/case/confirmed", body IdentifierConfirmed, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "Its place among confirmations";
    /// Take back that an identifier is a fraudster's
    retract_identifier: post "/v1/case/confirmed/retract", body IdentifierConfirmed, "application/json", key "Sent again within 3 days, it is answered as before" => 201 "Its place among confirmations";
    /// See what was confirmed and taken back, in its order
    see_confirmed: get "/v1/case/confirmed", query "after" "Behind this place" => 200 "Up to a thousand confirmations";
    /// See who looked at what, and who was refused; for auditors alone
    see_looks: get "/v1/case/looks", query "since" "RFC 3339", query "limit" "The newest so many: 1000 as shipped, 10000 at most"
        => 200 "Looks, the newest last";
}

/// Public numbers of a period: facts, damage, persons, groups, seizures, and the years before; each with the question it answers
#[utoipa::path(
    get,
    path = "/v1/stats",
    params(
        ("year" = Option<String>, Query, description = "Such as 2023; or `from` and `until`"),
        ("from" = Option<String>, Query, description = "The first day"),
        ("until" = Option<String>, Query, description = "The day behind the last"),
        ("region" = Option<String>, Query, description = "Facts of this region alone"),
        ("type" = Option<String>, Query, description = "Facts of this type alone"),
        ("cumulative" = Option<String>, Query, description = "`true`: from the first fact on"),
        ("years" = Option<String>, Query, description = "Years before that facts are compared with: 7 as shipped, 50 at most"),
        ("form" = Option<String>, Query, description = "`json`, `csv` or `svg`"),
        ("Accept-Language" = Option<String>, Header, description = "Language of the title of a picture: kk, ru or en")
    ),
    responses(
        (status = 200, description = "The figures",
         content((Object = "application/json"), (String = "text/csv"), (String = "image/svg+xml"))),
        (status = 401, description = "No access token, or one that does not count", body = ProblemBody, content_type = "application/problem+json",
         headers(("WWW-Authenticate" = String, description = "Bearer"))),
        (status = 403, description = "No register here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No such period, type or form", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much waits", body = ProblemBody, content_type = "application/problem+json")
    ),
    security(("loan_client" = []))
)]
pub fn see_statistics() {}
