//! CAMARA one-time-password-sms in the description: paths, bodies and errors as release r3.2 (version 1.1.1) of
//! <https://github.com/camaraproject/OTPValidation> names them, in our own words.

use crate::http::one_time_password::{CodeSent, ErrorInfo, SendCode, ValidateCode};

/// An operation with its body and success; what goes wrong is the same for both but for 400 and 403.
macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident: $path:literal, body $body:ty
       => ($($success:tt)*), 400 $invalid:literal, 403 $forbidden:literal;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post,
            path = $path,
            request_body(content = $body, content_type = "application/json"),
            params(
                ("x-correlator" = Option<String>, Header, description = "Sent back", pattern = r"^[a-zA-Z0-9\-_:;./<>{}]{0,256}$")
            ),
            responses(
                ($($success)*, headers(("x-correlator" = String, description = "As it was sent"))),
                (status = 400, description = $invalid, body = ErrorInfo, content_type = "application/json"),
                (status = 401, description = "UNAUTHENTICATED", body = ErrorInfo, content_type = "application/json",
                 headers(("WWW-Authenticate" = String, description = "Bearer"))),
                (status = 403, description = $forbidden, body = ErrorInfo, content_type = "application/json"),
                (status = 404, description = "NOT_FOUND: a number of no subscriber here, or no code of this client", body = ErrorInfo, content_type = "application/json"),
                (status = 415, description = "UNSUPPORTED_MEDIA_TYPE", body = ErrorInfo, content_type = "application/json"),
                (status = 429, description = "TOO_MANY_REQUESTS: for this client", body = ErrorInfo, content_type = "application/json"),
                (status = 500, description = "INTERNAL", body = ErrorInfo, content_type = "application/json"),
                (status = 503, description = "UNAVAILABLE", body = ErrorInfo, content_type = "application/json")
            ),
            security(("loan_client" = []))
        )]
        pub fn $name() {}
    )*};
}

operations! {
    /// Send a one-time code to a phone: CAMARA One Time Password SMS 1.1
    ///
    /// Another code for the same phone and client ends the one before.
    send_one_time_password: "/one-time-password-sms/v1/send-code", body SendCode
        => (status = 200, description = "The code is on its way", body = CodeSent, content_type = "application/json"),
        400 "INVALID_ARGUMENT",
        403 "PERMISSION_DENIED, ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED, ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED";
    /// Check a one-time code that was entered
    validate_one_time_password: "/one-time-password-sms/v1/validate-code", body ValidateCode
        => (status = 204, description = "It is right"),
        400 "INVALID_ARGUMENT, ONE_TIME_PASSWORD_SMS.INVALID_OTP, ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED, ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED",
        403 "PERMISSION_DENIED";
}
