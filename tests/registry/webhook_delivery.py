"""Deliveries of webhooks, signed as each sender's documents say: over the body as it is sent."""

import base64
import hashlib
import hmac
import time
import uuid

KEY = b"0123456789abcdef0123456789abcdef"
# Of GitLab: a signing token, and a plain one that is sent as it is.
SECRETS = {
    "github": KEY.decode(),
    "bitbucket": KEY.decode(),
    "gitea": KEY.decode(),
    "gitlab": "whsec_" + base64.b64encode(KEY).decode(),
    "gitlab-token": KEY.decode(),
}


def delivery(sender: str, body: bytes, age_seconds: int = 0) -> dict[str, str]:
    """The headers with which `sender` delivers `body`."""
    digest = hmac.new(KEY, body, hashlib.sha256)
    match sender:
        case "github":
            return {"X-GitHub-Event": "push", "X-GitHub-Delivery": str(uuid.uuid4()), "X-Hub-Signature-256": f"sha256={digest.hexdigest()}"}
        case "bitbucket":
            return {"X-Event-Key": "repo:push", "X-Request-UUID": str(uuid.uuid4()), "X-Hub-Signature": f"sha256={digest.hexdigest()}"}
        case "gitea":
            return {"X-Gitea-Event": "push", "X-Gitea-Delivery": str(uuid.uuid4()), "X-Gitea-Signature": digest.hexdigest()}
        case "gitlab-token":
            return {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": str(uuid.uuid4()), "X-Gitlab-Token": KEY.decode()}
        case "gitlab":
            name, at = str(uuid.uuid4()), str(int(time.time()) - age_seconds)
            signature = hmac.new(KEY, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
            signed = "v1," + base64.b64encode(signature).decode()
            return {"X-Gitlab-Event": "Push Hook", "webhook-id": name, "webhook-timestamp": at, "webhook-signature": signed}
    raise ValueError(sender)
