"""Makes half of the telephone numbers mobile ones of this country: of random ones hardly any would be sent a code."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        phone = body.get("phoneNumber")
        if isinstance(phone, str) and phone.startswith("+") and phone[1:].isdecimal() and len(phone) % 2 == 0:
            body["phoneNumber"] = "+7701" + phone[1:].zfill(7)[-7:]
    return body
