"""The data and its rules, shared by the proxy, the portal and the jobs."""
