//! The loan gate in the description.

use crate::http::loans::{
    EnteredCode, LoanApplication, MakeLink, NoPhoto, Person, Phone, PhoneChange, ReferencePhoto, SendCode,
};
use crate::http::problem::ProblemBody;

/// A route with its own body and success; what goes wrong is the same everywhere.
macro_rules! routes {
    ($($(#[doc = $doc:literal])+ $name:ident: $method:ident $path:literal
       $(, body $body:ty)? $(, id $id:literal)? $(, key $key:literal)?
       => $status:literal $said:literal $kind:literal;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            $method,
            path = $path,
            $(request_body(content = $body, content_type = "application/json"),)?
            params(
                $(("id" = String, Path, description = $id, pattern = "^[0-9a-f]{32}$"),)?
                $(("Idempotency-Key" = String, Header, description = $key, pattern = "^\"?[!#-~]{1,128}\"?$"),)?
                ("Accept-Language" = Option<String>, Header, description = "Language of texts: kk, ru or en")
            ),
            responses(
                (status = $status, description = $said, body = Object, content_type = $kind),
                (status = 400, description = "No JSON, or no Idempotency-Key", body = ProblemBody, content_type = "application/problem+json"),
                (status = 401, description = "No access token, or one that does not count", body = ProblemBody, content_type = "application/problem+json",
                 headers(("WWW-Authenticate" = String, description = "Bearer"))),
                (status = 403, description = "No loan gate here, or the token is not for this", body = ProblemBody, content_type = "application/problem+json"),
                (status = 404, description = "No such application of this creditor, or no ban", body = ProblemBody, content_type = "application/problem+json"),
                (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
                (status = 409, description = "Not in this state, or no code is open", body = ProblemBody, content_type = "application/problem+json"),
                (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json"),
                (status = 415, description = "The body is not said to be JSON", body = ProblemBody, content_type = "application/problem+json"),
                (status = 422, description = "Not what is asked for, or a wrong code", body = ProblemBody, content_type = "application/problem+json"),
                (status = 429, description = "Too many codes", body = ProblemBody, content_type = "application/problem+json"),
                (status = 500, description = "The node failed on this request", body = ProblemBody, content_type = "application/problem+json"),
                (status = 503, description = "The store does not answer, or too much waits", body = ProblemBody, content_type = "application/problem+json")
            ),
            security(("loan_client" = []))
        )]
        pub fn $name() {}
    )*};
}

routes! {
    /// Open an application for a loan
    open_loan: post "/v1/loans", body LoanApplication, key "A new one for each application; sent again, it is answered as before"
        => 201 "The application and its gates" "application/json";
    /// See an application and its gates
    see_loan: get "/v1/loans/{id}", id "The application" => 200 "The application and its gates" "application/json";
    /// Send the applicant a one-time code for the consent that is awaited
    send_code: post "/v1/loans/{id}/code", body SendCode, id "The application"
        => 202 "The code is on its way" "application/json";
    /// Enter the code of the first consent
    confirm_loan: post "/v1/loans/{id}/confirm", body EnteredCode, id "The application"
        => 200 "The application and its gates" "application/json";
    /// Enter the code of the second consent, after the cooling-off
    consent_loan: post "/v1/loans/{id}/consent", body EnteredCode, id "The application"
        => 200 "The application and its gates" "application/json";
    /// Cancel an application
    cancel_loan: post "/v1/loans/{id}/cancel", id "The application" => 200 "The application" "application/json";
    /// Make the link of one use to the applicant's page, and send it by SMS where that is asked; it voids the one before
    make_link: post "/v1/loans/{id}/link", body MakeLink, id "The application" => 201 "The link, and until when it counts" "application/json";
    /// The signed document of an application that has ended: JWS, EdDSA
    loan_document: get "/v1/loans/{id}/document", id "The application" => 200 "The document" "application/jose";
    /// Set a self-ban: in force at once
    set_ban: post "/v1/bans/set", body Person => 200 "The ban" "application/json";
    /// Ask to lift a self-ban: it ends after the waiting period
    lift_ban: post "/v1/bans/lift", body Person => 200 "The ban" "application/json";
    /// See whether a person has banned loans
    see_ban: post "/v1/bans/retrieve", body Person => 200 "The ban" "application/json";
    /// Whether somebody was lately called by a number that screening marked or blocked, in bands
    scam_signal: post "/v1/signals/scam", body Phone => 200 "The band" "application/json";
    /// Keep a person's reference photo, in place of the one before: its numbers are made at once
    keep_reference: post "/v1/references", body ReferencePhoto => 201 "The model whose numbers are kept" "application/json";
    /// Delete a person's reference photo
    drop_reference: post "/v1/references/delete", body NoPhoto => 200 "It is deleted" "application/json";
    /// Say that a phone changed: SIM swapped, number ported, calls forwarded
    phone_changed: post "/v1/phones/changes", body PhoneChange => 202 "It is kept" "application/json";
}

/// The public key of documents, as a JWK set (RFC 7517)
#[utoipa::path(get, path = "/v1/loans/keys", responses(
    (status = 200, description = "The key", body = Object, content_type = "application/json"),
    (status = 403, description = "No loan gate here", body = ProblemBody, content_type = "application/problem+json")
))]
pub fn loan_keys() {}

/// An access token for client credentials (RFC 6749 section 4.4)
#[utoipa::path(
    post,
    path = "/oauth2/token",
    request_body(content = Object, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "access_token, token_type, expires_in, scope", body = Object, content_type = "application/json"),
        (status = 400, description = "error as RFC 6749 section 5.2 names it", body = Object, content_type = "application/json"),
        (status = 401, description = "invalid_client", body = Object, content_type = "application/json",
         headers(("WWW-Authenticate" = String, description = "Basic"))),
        (status = 403, description = "No loan gate here", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub fn access_token() {}
