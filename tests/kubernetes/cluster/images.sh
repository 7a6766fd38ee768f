# shellcheck shell=bash
# The images that the cluster itself and its tests need, made from Debian's busybox and our own binaries: there is no registry.
# They are made once for each version of these files, beside the binaries. Sourced by cluster.sh, which calls make_images where `set -e`
# does not work: all here say && or || return 1.

# make_images: prints the folder in which pause.tar, busybox.tar and kube.tar lie, as OCI archives.
make_images() {
  local folder busybox
  busybox=$(command -v busybox) || fail "busybox is missing (apt-get install busybox)"
  folder=$(dirname "$bin")/images-$(cat "$home/images.sh" "$home/pause.c" "$busybox" | sha256sum | cut -c1-12)
  if [[ ! -e $folder/.complete ]]; then
    say "images, once"
    rm -rf "$folder"
    mkdir -p "$folder"
    make_pause "$folder" && make_busybox "$folder" "$busybox" && make_kube "$folder" || return 1
    rm -rf "$folder/work"
    touch "$folder/.complete"
  fi
  printf '%s\n' "$folder"
}

# archive FOLDER NAME LINE…: the image localhost/NAME:1 from the files in FOLDER/work/NAME; LINEs end its Containerfile.
archive() {
  local folder=$1 name=$2 store=(buildah --root "$1/work/store" --runroot "$1/work/run" --storage-driver vfs)
  shift 2
  printf '%s\n' 'FROM scratch' 'COPY . /' "$@" >"$folder/work/$name.containerfile"
  "${store[@]}" bud --isolation chroot --quiet -f "$folder/work/$name.containerfile" -t "localhost/$name:1" "$folder/work/$name" >&2 &&
    "${store[@]}" push --quiet --disable-compression "localhost/$name:1" "oci-archive:$folder/$name.tar:localhost/$name:1" >&2
}

make_pause() { # FOLDER
  mkdir -p "$1/work/pause"
  gcc -Os -static -s -o "$1/work/pause/pause" "$home/pause.c" && archive "$1" pause 'ENTRYPOINT ["/pause"]'
}

# Debian's dynamic busybox with its libraries: the static one cannot look names up. Its wget crashes: use nc.
busybox_files() { # ROOT BUSYBOX
  local root=$1 library name
  mkdir -p "$root"/{bin,etc} && install -d -m 1777 "$root/tmp" && cp -L "$2" "$root/bin/busybox" || return 1
  while read -r library; do
    mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library" || return 1
  done < <(ldd "$2" | grep -o '/[^ ]*'; printf '/lib/%s/libnss_%s.so.2\n' "$(gcc -print-multiarch)" dns "$(gcc -print-multiarch)" files)
  while read -r name; do
    if [[ $name != busybox ]]; then ln -s busybox "$root/bin/$name"; fi
  done < <("$2" --list)
  echo 'nobody:x:65534:65534::/:/bin/sh' >"$root/etc/passwd"
}

make_busybox() { # FOLDER BUSYBOX
  busybox_files "$1/work/busybox" "$2" && archive "$1" busybox 'ENV PATH=/bin' 'CMD ["/bin/sh"]'
}

# kubectl and CoreDNS, with a shell to write tests in.
make_kube() { # FOLDER
  local root=$1/work/kube
  cp -a "$1/work/busybox" "$root" &&
    cp --reflink=auto "$bin/kube-multi" "$root/bin/kube-multi" &&
    ln -s kube-multi "$root/bin/kubectl" &&
    ln -s kube-multi "$root/bin/coredns" &&
    archive "$1" kube 'ENV PATH=/bin' 'CMD ["/bin/sh"]'
}
