"""Sends every other call by a trunk there is: of random names none would ever be judged."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    for call in body if isinstance(body, list) else [body]:
        if isinstance(call, dict) and isinstance(call.get("trunk"), str) and len(call["trunk"]) % 2 == 0:
            call["trunk"] = "international"
    return body
