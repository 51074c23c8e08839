"""Authentication and authorization: identities, ACLs and SASL."""
