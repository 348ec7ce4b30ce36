"""The world, as ports: AWS and the identity provider. The only importers of boto3."""
