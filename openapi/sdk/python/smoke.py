"""Uses the generated Python client as a customer's service would. `./dev prove sdk` runs it.

python smoke.py RUN_JSON
"""

import json
import sys
import uuid
from pathlib import Path

from latchkey_client import AuthenticatedClient, Client
from latchkey_client.api.account import get_me
from latchkey_client.api.api_keys import create_api_key, get_own_api_key, revoke_api_key
from latchkey_client.api.audit import export_audit_events
from latchkey_client.api.auth import login
from latchkey_client.api.roles import create_role, delete_role, list_roles, update_role
from latchkey_client.api.tokens import introspect_token
from latchkey_client.api.users import import_users
from latchkey_client.api.webhooks import publish_event
from latchkey_client.models import (
    ActiveToken,
    ApiKeyEnvironment,
    CreateApiKeyRequest,
    CreatedApiKey,
    CreateRoleRequest,
    IntrospectRequest,
    LoginRequest,
    Me,
    Problem,
    ProblemCode,
    PublishEventRequest,
    PublishEventRequestPayload,
    Role,
    SessionTokens,
    UpdateRoleRequest,
)
from latchkey_client.types import File

run = json.loads(Path(sys.argv[1]).read_text())
base_url, admin = run["base_url"], run["admin"]


def expect(answer, status, kind):
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert isinstance(answer.parsed, kind), answer.parsed
    return answer.parsed


anonymous = Client(base_url=base_url)
wrong = LoginRequest(email=admin["email"], password="not the password")
problem = expect(login.sync_detailed(client=anonymous, body=wrong, x_tenant_id=admin["tenant"]), 401, Problem)
assert problem.code == ProblemCode.INVALID_CREDENTIALS

right = LoginRequest(email=admin["email"], password=admin["password"])
tokens = expect(login.sync_detailed(client=anonymous, body=right, x_tenant_id=admin["tenant"]), 200, SessionTokens)
client = AuthenticatedClient(base_url=base_url, token=tokens.access_token)
me = expect(get_me.sync_detailed(client=client), 200, Me)
assert me.user.email == admin["email"]

name = f"Python {uuid.uuid4()}"
wanted = CreateRoleRequest(name=name, description="Of a test", permissions=["users:read"])
answer = create_role.sync_detailed(client=client, body=wanted)
role = expect(answer, 201, Role)
again = expect(create_role.sync_detailed(client=client, body=wanted), 409, Problem)
assert again.code == ProblemCode.NAME_TAKEN, again.code
cleared = update_role.sync_detailed(
    role.id, client=client, body=UpdateRoleRequest(description=None), if_match=answer.headers["ETag"]
)
assert expect(cleared, 200, Role).description is None

found, cursor = set(), None
while True:
    page = list_roles.sync(client=client, limit=2, **({"cursor": cursor} if cursor else {}))
    found |= {role.name for role in page.data}
    cursor = page.next_cursor
    if not page.has_more:
        break
assert {name, "owner", "member"} <= found, found

wanted = CreateApiKeyRequest(name=name, environment=ApiKeyEnvironment.TEST, scopes=["users:read"])
created = expect(create_api_key.sync_detailed(client=client, body=wanted), 201, CreatedApiKey)
machine = AuthenticatedClient(base_url=base_url, token=created.key)
assert get_own_api_key.sync(client=machine).id == created.api_key.id
assert revoke_api_key.sync_detailed(created.api_key.id, client=client).status_code == 204
expect(get_own_api_key.sync_detailed(client=machine), 401, Problem)

event = PublishEventRequest(type_="invoice.paid", payload=PublishEventRequestPayload.from_dict({"invoice": name}))
key = str(uuid.uuid4())
first, second = (publish_event.sync(client=client, body=event, idempotency_key=key) for _ in range(2))
assert first.event_id == second.event_id

asked = IntrospectRequest(token=tokens.access_token)
assert isinstance(introspect_token.sync(client=client, body=asked), ActiveToken)

lines = export_audit_events.sync(client=client).payload.read().splitlines()
assert any(json.loads(line)["action"] == "api_key.revoke" for line in lines)
person = {"email": f"{uuid.uuid4()}@example.com", "name": "Ada"}
report = import_users.sync(client=client, body=File(payload=json.dumps(person).encode()))
assert json.loads(report.payload.read().splitlines()[-1])["created"] == 1

assert delete_role.sync_detailed(role.id, client=client, if_match=cleared.headers["ETag"]).status_code == 204
print("The Python client signed in, called and was answered as the document says.")
