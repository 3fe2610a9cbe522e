"""Storage of files beside boto3: s3.py <command of testkit's S3 server> <command of the storage>

boto3 uses the server, so that it is known to be one. Then it reads what the storage writes, and the other way round, and links of the
storage are what boto3's own are."""

import base64
import hashlib
import json
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def run(*command):
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


server = run(sys.argv[1])
endpoint, bucket, key, secret = server.stdout.readline().split()
storage = run(sys.argv[2], endpoint, bucket, key, secret)


def client(secret=secret, **config):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}, **config),
    )


def ask(*words):
    storage.stdin.write("\t".join(words) + "\n")
    storage.stdin.flush()
    return storage.stdout.readline().strip()


def fetch(url, method="GET", headers=None, body=None):
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def refused(call, *codes):
    try:
        call()
    except ClientError as error:
        assert error.response["Error"]["Code"] in codes, error
    else:
        raise AssertionError("not refused")


s3 = client()

# The server, with boto3 alone.
data = bytes(range(256)) * 40
s3.put_object(Bucket=bucket, Key="files/00/a", Body=data, ContentType="text/csv", ChecksumAlgorithm="SHA256")
found = s3.get_object(Bucket=bucket, Key="files/00/a")
assert found["Body"].read() == data and found["ContentType"] == "text/csv"
assert s3.get_object(Bucket=bucket, Key="files/00/a", Range="bytes=5-9")["Body"].read() == data[5:10]
assert s3.head_object(Bucket=bucket, Key="files/00/a")["ContentLength"] == len(data)
assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["files/00/a"]
refused(lambda: client("another-secret").list_objects_v2(Bucket=bucket), "SignatureDoesNotMatch")
refused(lambda: s3.list_objects_v2(Bucket="other"), "NoSuchBucket")
refused(lambda: s3.get_object(Bucket=bucket, Key="files/00/none"), "NoSuchKey")
wrong = base64.b64encode(bytes(32)).decode()
refused(lambda: s3.put_object(Bucket=bucket, Key="files/00/w", Body=data, ChecksumSHA256=wrong), "BadDigest")
own = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "files/00/a"}, ExpiresIn=60)
assert fetch(own)[0] == 200 and fetch(own.replace("00/a", "00/b"))[0] == 403

# Objects of one side, read by the other; 11 MiB are three parts.
assert ask("read", "files/00/a") == str(len(data))
assert ask("write", "files/00/b", str(11 << 20)) == "written"
found = s3.get_object(Bucket=bucket, Key="files/00/b")
assert found["Body"].read() == b"a" * (11 << 20) and found["ContentType"] == "text/plain"

# Links of the storage.
disposition = "attachment; filename=\"a b.csv\"; filename*=UTF-8''%E8%A1%A8.csv"
link = ask("get", "files/00/a", "text/csv", disposition)
status, headers, body = fetch(link)
assert (status, headers["content-type"], headers["content-disposition"]) == (200, "text/csv", disposition), status
assert body == data and fetch(link.replace("text%2Fcsv", "text%2Fhtml"))[0] == 403
signed = json.loads(ask("put", "files/00/c", "text/csv", str(len(data)), hashlib.sha256(data).hexdigest()))
for headers, body, expected in [
    (signed["headers"], data + b"x", 403),
    (signed["headers"], b"x" * len(data), 400),
    ({**signed["headers"], "content-type": "text/html"}, data, 403),
    (signed["headers"], data, 200),
]:
    status = fetch(signed["url"], "PUT", headers, body)[0]
    assert status == expected, (status, expected)
assert s3.get_object(Bucket=bucket, Key="files/00/c")["Body"].read() == data

# boto3 makes the same links, up to the time in them.
params = {"Bucket": bucket, "Key": "files/00/a", "ResponseContentType": "text/csv", "ResponseContentDisposition": disposition}
theirs = s3.generate_presigned_url("get_object", Params=params, ExpiresIn=3600)


def parts(url):
    path, query = url.split("?")
    timeless = [pair for pair in query.split("&") if not pair.startswith(("X-Amz-Date=", "X-Amz-Signature="))]
    return path, sorted(timeless)


assert parts(link) == parts(theirs), (parts(link), parts(theirs))

for process in (storage, server):
    process.stdin.close()
    assert process.wait(60) == 0
