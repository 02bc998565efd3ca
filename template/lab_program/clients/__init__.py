"""One typed client a system: kubectl, Helm, Flux, GitLab's API and its pod, Git, and the runner's machine."""
