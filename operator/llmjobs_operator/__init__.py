"""The Kopf operator: LLMJob and LLMWorkerPool resources to jobs and Deployments."""
