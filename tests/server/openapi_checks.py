"""What schemathesis looks at beside its own checks. Loaded by openapi.py's configuration."""

import schemathesis

# What no schema can say of a request: products of fields, pairs that exclude each other, numbers given as text.
BOUNDED_ALONE = {"fps", "num_inference_steps", "guidance_scale", "flow_shift", "seed"}
WITHIN_BOUNDS = {"size", "width", "height", "seconds", "num_frames", "fps", "num_inference_steps", "guidance_scale", "flow_shift", "seed"}


@schemathesis.check
def refusals_say_why(ctx, response, case):
    """400 has a code, a sentence and the field; a request as the document wants it is only refused for the fields above."""
    if response.status_code != 400:
        return
    error = response.json()["error"]
    assert error["code"] and error["message"], error
    nameless = error["code"] in ("invalid_json", "invalid_form", "invalid_type")  # the body as a whole
    nameless |= error["code"] == "unknown_parameter" and error["message"].startswith(": ")  # a field whose name is empty
    assert error["param"] or nameless, f"names no field: {error}"
    mode = case.meta.generation.mode if case.meta else None
    if mode and mode.is_positive and case.operation.method == "post" and case.path in ("/v1/videos", "/v1/videos/sync"):
        assert error["param"] in WITHIN_BOUNDS, f"allowed by the document: {error}"
        value = case.body.get(error["param"]) if isinstance(case.body, dict) and "json" in (case.media_type or "") else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        assert not (number and error["param"] in BOUNDED_ALONE), f"{value} is allowed by the document: {error}"
