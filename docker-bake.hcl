# docker buildx bake: the images, each a SERVICE of the Dockerfile.

variable "VERSION" { default = "dev" }       # the tag
variable "REVISION" { default = "unknown" }  # the commit, for the label
variable "REGISTRY" { default = "" }         # a prefix such as registry.example.org/team/
variable "PLATFORMS" { default = "" }        # this machine's; linux/amd64,linux/arm64 with --push

group "default" {
  targets = ["producer", "worker", "aggregator", "cli"]
}

target "image" {
  name       = service
  matrix     = { service = ["producer", "worker", "aggregator", "cli"] }
  tags       = ["${REGISTRY}manyhands-${service}:${VERSION}"]
  args       = { SERVICE = service, VERSION = VERSION, REVISION = REVISION }
  platforms  = PLATFORMS == "" ? [] : split(",", PLATFORMS)
}
