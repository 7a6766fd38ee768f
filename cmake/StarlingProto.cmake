# starling_proto(NAME workload_proto PROTO workload.proto): messages and gRPC stubs as target starling_<NAME>, compiled without our
# warnings, since nobody here wrote that code. Includes are named from src/: "identity/spiffe/workload.grpc.pb.h".
# The target starling_generated makes the files of all of them and compiles nothing: for clang-tidy.
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)

add_custom_target(starling_generated)

function(starling_proto)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;PROTO" "")
  starling_check_arguments(starling_proto NAME PROTO)
  set(target starling_${arg_NAME})
  cmake_path(ABSOLUTE_PATH arg_PROTO OUTPUT_VARIABLE proto)
  cmake_path(RELATIVE_PATH proto BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/src OUTPUT_VARIABLE name)
  cmake_path(REMOVE_EXTENSION name LAST_ONLY)
  set(out ${PROJECT_BINARY_DIR}/proto)
  set(sources ${out}/${name}.pb.cc ${out}/${name}.grpc.pb.cc)
  add_custom_command(
    OUTPUT ${sources} ${out}/${name}.pb.h ${out}/${name}.grpc.pb.h
    COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
    COMMAND $<TARGET_FILE:protobuf::protoc> --proto_path=${PROJECT_SOURCE_DIR}/src --cpp_out=${out} --grpc_out=${out}
            --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${proto}
    DEPENDS ${proto}
    COMMENT "protoc ${name}.proto"
    VERBATIM)
  add_custom_target(${target}_files DEPENDS ${sources})
  add_dependencies(starling_generated ${target}_files)
  add_library(${target} STATIC ${sources})
  add_dependencies(${target} ${target}_files)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  # absl's synchronization is named although gRPC needs it too: Debian's packages do not say so to the linker.
  target_link_libraries(${target} PUBLIC gRPC::grpc++ protobuf::libprotobuf absl::synchronization)
  if(STARLING_ONLY_UNIT_SIM OR STARLING_FUZZER)
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()
