module github.com/GoogleCloudPlatform/cloudsql-proxy

go 1.25.3
