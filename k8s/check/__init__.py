"""Check of the manifests against Kubernetes' schemas and against rules that schemas cannot express."""
