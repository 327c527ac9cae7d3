"""WhatsApp by pywa. It has no option for the base URL; its session is one, and takes a transport of ours."""

import sys

import httpx
from pywa import WhatsApp
from pywa.errors import WhatsAppError
from pywa.types.templates import BodyText, TemplateLanguage

import audit


class ToSandbox(httpx.HTTPTransport):
    """Carries requests for the Graph API to the sandbox."""

    def __init__(self, base_url: str):
        super().__init__()
        self.target = httpx.URL(base_url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(
            scheme=self.target.scheme, host=self.target.host, port=self.target.port
        )
        return super().handle_request(request)


base_url = sys.argv[1]
client = WhatsApp(
    phone_id="106540352242922",
    token="sandbox-token",
    session=httpx.Client(transport=ToSandbox(base_url)),
)

text = client.send_message(to="+16505551234", text="Hello", tracker="msg_wa_1")
record = audit.message(base_url, "msg_wa_1")
assert record["address"] == "16505551234" and record["provider_id"] == text.id, (record, text)

template = client.send_template(
    to="16505551234",
    name="order_update",
    language=TemplateLanguage.ENGLISH_US,
    params=[BodyText.params("Ann", "12 March")],
    tracker="msg_wa_2",
)
assert audit.message(base_url, "msg_wa_2")["provider_id"] == template.id, template

try:
    client.send_message(to="16505551234", text="x" * 4097)
    raise AssertionError("a text of 4,097 characters was taken")
except WhatsAppError as error:
    assert error.code == 100, error

number = client.get_business_phone_number()
assert number.id == "106540352242922" and number.quality_rating == "GREEN", number

counts = audit.lane(base_url, "whatsapp")
expected = {"messages": 2, "duplicates": 0, "refused": {"100": 1}}
assert {name: counts[name] for name in expected} == expected, counts
print("pywa: text, template, refusal, phone number")
