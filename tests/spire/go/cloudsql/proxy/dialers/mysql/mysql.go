// Package mysql stands in for the driver of Google's Cloud SQL; see ../../../../go.mod.
package mysql
