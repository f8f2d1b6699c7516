"""Makes the buckets it is given, those that exist aside. Where and with which keys: the AWS_* variables."""

import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from components.shared.machine.first_contact import PATIENCE, await_server

s3 = boto3.client("s3")
await_server(s3.meta.endpoint_url, "S3")
deadline = time.monotonic() + PATIENCE
for bucket in sys.argv[1:]:
    while True:
        try:
            s3.create_bucket(Bucket=bucket)
            print(f"s3://{bucket} is new")
            break
        except s3.exceptions.BucketAlreadyOwnedByYou:
            print(f"s3://{bucket} exists")
            break
        except (BotoCoreError, ClientError) as error:  # the store answers before it can store
            if time.monotonic() > deadline:
                sys.exit(f"s3://{bucket}: {error}")
            time.sleep(2)
