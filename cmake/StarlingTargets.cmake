# The functions that make every target. Files are listed by name, never globbed (tests/tidy.py checks that no test is forgotten).
#
#   starling_library(NAME base SOURCES log.cc … DEPS absl::status … [OPTIONS -O3 …])       target starling_base, static
#   starling_binary(NAME starling SOURCES main.cc … DEPS …)                                build/<preset>/bin/starling
#   starling_test(NAME base_test LABEL unit SOURCES … DEPS … [TIMEOUT seconds])            GoogleTest; LABEL bench: Google Benchmark
#   starling_fuzz(NAME frames SOURCES fuzz_frames.cc CORPUS corpus/frames DEPS …)          target fuzz_frames

# Builds only what tests with the labels unit and sim need: for the sanitizers, which make everything slow.
option(STARLING_ONLY_UNIT_SIM "Only targets that unit and sim tests need" OFF)
# Builds only fuzz targets, with libFuzzer (clang). Elsewhere fuzz targets replay their corpus.
option(STARLING_FUZZER "Only fuzz targets, as libFuzzer binaries" OFF)

set(STARLING_LABELS unit sim integration e2e kube fuzz bench long)
set(STARLING_TIMEOUT_unit 60)
set(STARLING_TIMEOUT_sim 300)
set(STARLING_TIMEOUT_integration 120)
set(STARLING_TIMEOUT_e2e 600)
set(STARLING_TIMEOUT_kube 1200)
set(STARLING_TIMEOUT_fuzz 120)
set(STARLING_TIMEOUT_bench 300)
set(STARLING_TIMEOUT_long 86400)

# Sets what is common to all targets. `keyword` is PUBLIC for libraries, PRIVATE for programs.
function(starling_setup target keyword)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "DEPS;OPTIONS")
  target_link_libraries(${target} PRIVATE starling_flags ${keyword} ${arg_DEPS})
  target_include_directories(${target} ${keyword} ${PROJECT_SOURCE_DIR}/src)
  # Folders beside src (simulation, fuzz, …) name their own headers from the root of the checkout.
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR} inside)
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE folder)
  if(inside AND NOT folder MATCHES "^src(/|$)")
    target_include_directories(${target} ${keyword} ${PROJECT_SOURCE_DIR})
  endif()
  if(arg_OPTIONS)
    target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  endif()
endfunction()

# Ends the configuration on a misspelt keyword or a missing argument: a test that is not registered looks like one that passes.
macro(starling_check_arguments function)
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${function}(NAME ${arg_NAME}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  foreach(required ${ARGN})
    if(NOT arg_${required})
      message(FATAL_ERROR "${function}(NAME ${arg_NAME}): ${required} is missing")
    endif()
  endforeach()
endmacro()

function(starling_library)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "SOURCES;DEPS;OPTIONS")
  starling_check_arguments(starling_library NAME)
  set(target starling_${arg_NAME})
  if(NOT arg_SOURCES)  # headers only
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE ${arg_DEPS})
    target_include_directories(${target} INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
    return()
  endif()
  add_library(${target} STATIC ${arg_SOURCES})
  starling_setup(${target} PUBLIC DEPS ${arg_DEPS} OPTIONS ${arg_OPTIONS})
  if(STARLING_ONLY_UNIT_SIM OR STARLING_FUZZER)
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

function(starling_binary)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "SOURCES;DEPS;OPTIONS")
  starling_check_arguments(starling_binary NAME SOURCES)
  add_executable(${arg_NAME} ${arg_SOURCES})
  starling_setup(${arg_NAME} PRIVATE DEPS ${arg_DEPS} OPTIONS ${arg_OPTIONS})
  if(STARLING_ONLY_UNIT_SIM OR STARLING_FUZZER)
    set_target_properties(${arg_NAME} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()

# The time limit of a test: its own, else its label's; five times as long under a sanitizer.
function(starling_timeout label given out)
  set(seconds ${STARLING_TIMEOUT_${label}})
  if(given)
    set(seconds ${given})
  endif()
  if(STARLING_SANITIZE)
    math(EXPR seconds "${seconds} * 5")
  endif()
  set(${out} ${seconds} PARENT_SCOPE)
endfunction()

function(starling_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;LABEL;TIMEOUT" "SOURCES;DEPS;OPTIONS")
  starling_check_arguments(starling_test NAME LABEL SOURCES)
  if(NOT arg_LABEL IN_LIST STARLING_LABELS)
    message(FATAL_ERROR "starling_test(NAME ${arg_NAME}): LABEL ${arg_LABEL} is none of: ${STARLING_LABELS}")
  endif()
  if(STARLING_FUZZER OR (STARLING_ONLY_UNIT_SIM AND NOT arg_LABEL MATCHES "^(unit|sim)$"))
    return()
  endif()
  starling_timeout(${arg_LABEL} "${arg_TIMEOUT}" seconds)
  add_executable(${arg_NAME} ${arg_SOURCES})
  if(arg_LABEL STREQUAL "bench")
    starling_setup(${arg_NAME} PRIVATE OPTIONS ${arg_OPTIONS}
                   DEPS ${arg_DEPS} benchmark::benchmark benchmark::benchmark_main)
    # Under ctest each benchmark proves that it still runs; only ./dev bench and people look at the times.
    add_test(NAME ${arg_NAME} COMMAND ${arg_NAME} --benchmark_min_time=0.001)
    set_tests_properties(${arg_NAME} PROPERTIES LABELS bench TIMEOUT ${seconds} RUN_SERIAL ON)
    return()
  endif()
  starling_setup(${arg_NAME} PRIVATE OPTIONS ${arg_OPTIONS} DEPS ${arg_DEPS} GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${arg_NAME}
    TEST_PREFIX "${arg_NAME}:"
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    DISCOVERY_MODE PRE_TEST
    DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${seconds})
endfunction()

# A program that no GoogleTest wraps (a simulator's seeds, a script): the target or path and its arguments as a ctest.
# What starts whole swarms or measures gets the machine for itself, unless it says BESIDE_OTHERS: it waits most of the time.
function(starling_command_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "WILL_FAIL;BESIDE_OTHERS" "NAME;LABEL;TIMEOUT" "COMMAND")
  starling_check_arguments(starling_command_test NAME LABEL COMMAND)
  if(NOT arg_LABEL IN_LIST STARLING_LABELS)
    message(FATAL_ERROR "starling_command_test(NAME ${arg_NAME}): LABEL ${arg_LABEL} is none of: ${STARLING_LABELS}")
  endif()
  if(STARLING_FUZZER OR (STARLING_ONLY_UNIT_SIM AND NOT arg_LABEL MATCHES "^(unit|sim)$"))
    return()
  endif()
  list(GET arg_COMMAND 0 program)
  if(TARGET ${program})
    set_target_properties(${program} PROPERTIES EXCLUDE_FROM_ALL OFF)
  endif()
  starling_timeout(${arg_LABEL} "${arg_TIMEOUT}" seconds)
  add_test(NAME ${arg_NAME} COMMAND ${arg_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${arg_NAME} PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${seconds} WILL_FAIL ${arg_WILL_FAIL})
  if(arg_LABEL MATCHES "^(e2e|bench|kube|long)$" AND NOT arg_BESIDE_OTHERS)
    set_tests_properties(${arg_NAME} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

function(starling_fuzz)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;CORPUS;TIMEOUT" "SOURCES;DEPS")
  starling_check_arguments(starling_fuzz NAME SOURCES CORPUS)
  if(STARLING_ONLY_UNIT_SIM)
    return()
  endif()
  string(REGEX REPLACE "^fuzz_" "" name ${arg_NAME})
  set(target fuzz_${name})
  cmake_path(ABSOLUTE_PATH arg_CORPUS BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE corpus)
  if(STARLING_FUZZER)
    add_executable(${target} ${arg_SOURCES})
    starling_setup(${target} PRIVATE DEPS ${arg_DEPS})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  add_executable(${target} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/fuzz/replay_main.cc)
  starling_setup(${target} PRIVATE DEPS ${arg_DEPS})
  starling_timeout(fuzz "${arg_TIMEOUT}" seconds)
  add_test(NAME ${target} COMMAND ${target} ${corpus})
  set_tests_properties(${target} PROPERTIES LABELS fuzz TIMEOUT ${seconds})
endfunction()
